"""All that a network has learned from: the images of its own run, and those of the runs that it builds upon."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gfnet_dynn.bundle.learned_from import NAME, digests, pack, unpack
from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.model.checkpoint import SUFFIX, load_checkpoint
from gfnet_dynn.progress import OnProgress, OnStep
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.train.runs.run_folder import RunPlan

RECORD = "learned_from"
"""Under this name, a run's record and a checkpoint's provenance hold what `Lineage.describe` says."""


@dataclass(frozen=True)
class Lineage:
    """What is known of the images that a network learned from.

    Attributes:
        images: a digest of each that it was trained or selected on.
        unknown: networks that it builds upon, of which it is not known what they learned from.
    """

    images: frozenset[bytes]
    unknown: tuple[str, ...] = ()

    def __or__(self, other: Lineage) -> Lineage:
        return Lineage(self.images | other.images, tuple(dict.fromkeys((*self.unknown, *other.unknown))))

    @property
    def packed(self) -> bytes:
        """The digests as one content, as runs and bundles keep them."""
        return pack(self.images)

    def describe(self) -> dict[str, Any]:
        """As JSON values; by the hash a checkpoint knows the digests that are its own."""
        return {"images": len(self.images), "sha256": _sha256(self.packed), "unknown": list(self.unknown)}


def lineage_of_data(data: SceneData, on_progress: OnProgress) -> Lineage:
    """What a run on these data learns from, if it starts from nothing: the parts for training and selection.

    Args:
        data: split.
        on_progress: told while the images are read.

    Raises:
        DataError: an image cannot be read.
    """
    files = [data.source.root / path for part in ("train", "selection") for path, _ in data.split.parts[part]]
    return _hashed(files, partial(on_progress, "Hashing the training images"))


def _hashed(files: Sequence[Path], on_step: OnStep) -> Lineage:
    return Lineage(frozenset(digests(files, lambda done: on_step(done, len(files)))))


def lineage_of_plan(plan: RunPlan, on_progress: OnProgress) -> Lineage:
    """What a run is going to have learned from, with what it starts from and is taught by.

    ImageNet weights that come as packages need no mention: they are no scenes.

    Raises:
        DataError: an image cannot be read.
        CheckpointError: a checkpoint cannot be read.
    """
    found = own = lineage_of_data(plan.data, on_progress)
    if plan.unlabelled is not None:
        unlabelled = [Path(path) for path, _ in plan.unlabelled.files]
        found |= _hashed(unlabelled, partial(on_progress, "Hashing the unlabelled images"))
    if plan.start.checkpoint is not None:
        found |= _of_weights(plan.start.checkpoint, plan.data, own)
    if plan.teacher is not None:
        weights = plan.teacher.weights
        found |= _of_weights(weights, plan.data, own) if weights else Lineage(frozenset(), ("the teacher",))
    return found


def _of_weights(path: Path, data: SceneData, own: Lineage) -> Lineage:
    file = find_checkpoint_file(path)
    if file.suffix != SUFFIX:  # a published file says nothing
        return Lineage(frozenset(), (str(path),))
    return lineage_of_checkpoint(file, load_checkpoint(file).provenance, data, own)


def lineage_of_checkpoint(file: Path, provenance: Mapping[str, Any], data: SceneData, own: Lineage) -> Lineage:
    """What a checkpoint of ours has learned from, as far as that can be told; else it counts as unknown itself.

    Args:
        file: the checkpoint, in a stage's folder of its run if the run's digests are to be found.
        provenance: its own.
        data: a data set that may be its own.
        own: what a run on `data` learns from.
    """
    described = provenance.get(RECORD)
    if described is None:
        return own if _learned_from_no_more_than(data, provenance) else Lineage(frozenset(), (str(file),))
    unknown = tuple(described["unknown"])
    for content in (_kept(file), own.packed):  # a file that was copied out of its run may have learned from no more
        if content and _sha256(content) == described["sha256"]:
            return Lineage(unpack(content), unknown)
    return Lineage(frozenset(), (*unknown, str(file)))


def _learned_from_no_more_than(data: SceneData, provenance: Mapping[str, Any]) -> bool:
    """Of a checkpoint from before digests were kept: whether these data are all that it saw.

    That its split is the same is not asked: where the images are, `require_same_split` and an export see to it.
    """
    own, now = provenance.get("data"), data.record()
    if not own or "start" not in provenance or provenance["start"]["checkpoint"] or provenance.get("distillation"):
        return False
    return bool((own["data_set"], own["fingerprint"]) == (now.data_set, now.fingerprint))


def _kept(file: Path) -> bytes | None:
    try:
        return (file.parent.parent / NAME).read_bytes()
    except OSError:
        return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
