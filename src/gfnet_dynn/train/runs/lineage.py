"""All that a run learns from: its own images, and those of the networks that it builds upon."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.data.learned_from import (
    LearnedFrom,
    learned_from_provenance,
    learned_from_split,
    learned_from_unknown,
)
from gfnet_dynn.model.checkpoint import SUFFIX, load_checkpoint
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.train.runs.run_folder import RunPlan


def lineage_of_plan(plan: RunPlan) -> LearnedFrom:
    """What a run will have learned from, its starting weights and its teacher included.

    ImageNet weights that come as packages are omitted: they are no scenes.

    Raises:
        CheckpointError: a checkpoint cannot be read.
    """
    found = learned_from_split(plan.data.split)
    if plan.unlabelled is not None:
        found |= LearnedFrom(plan.unlabelled.fingerprints, b"")
    if plan.start.checkpoint is not None:
        found |= _of_weights(plan.start.checkpoint)
    if plan.teacher is not None:
        found |= _of_weights(plan.teacher.weights) if plan.teacher.weights else learned_from_unknown("the teacher")
    return found


def _of_weights(path: Path) -> LearnedFrom:
    file = find_checkpoint_file(path)
    if file.suffix != SUFFIX:  # a published file has no record
        return learned_from_unknown(path)
    return learned_from_provenance(load_checkpoint(file).provenance, file)
