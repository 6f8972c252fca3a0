"""What a run is planned to be, its record on disk, and whether an earlier run in its folder can be resumed as it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from gfnet_dynn import __version__
from gfnet_dynn.data.learned_from import LearnedFrom, UnlabelledImages, learned_from_split, learned_from_unknown
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.split import DataRecord
from gfnet_dynn.errors import CheckpointError, DataError, TrainingError
from gfnet_dynn.options import flag
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.system.structured import structured_file
from gfnet_dynn.train.distillation import Teacher
from gfnet_dynn.train.engine.device import choose_device, choose_precision
from gfnet_dynn.train.request import DistillationSettings, Start, TrainSettings
from gfnet_dynn.train.runs.start import describe_start, learned_from_weights, weights_digest

_MAY_CHANGE = ("device", "precision", "checkpoint_minutes")  # the precision in use is compared, not the one asked for
_PROVENANCE = ("data", "settings", "precision", "start", "distillation", "versions", "started_from", "learned_from")


@dataclass(frozen=True)
class RunRecord:
    """A run, as `run.json` holds it.

    Attributes:
        source: where the data lie; they may be moved, so it does not identify the run.
        precision: the one in use, where the settings have `auto`.
        keeps_statistics: batch norms keep the statistics of pretrained weights.
        started_from: provenance of the checkpoint that it starts from, without `learned_from`, or None.
        learned_from: all images that it learns from, those of the networks that it builds upon included.
    """

    network: NetSpec
    data: DataRecord
    source: Source
    settings: TrainSettings
    precision: str
    start: Mapping[str, Any]
    distillation: Mapping[str, Any] | None
    versions: Mapping[str, str]
    stages: tuple[str, ...] = ()
    keeps_statistics: bool = False
    started_from: Mapping[str, Any] | None = None
    learned_from: LearnedFrom | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self, enc_hook=str))  # paths as text
        return values

    def provenance(self) -> dict[str, Any]:
        """What a checkpoint of this run keeps of it, as JSON values; no place on this machine but the start's."""
        return {key: value for key, value in self.to_dict().items() if key in _PROVENANCE}


@dataclass(frozen=True)
class RunPlan:
    """What to train, on what, and how; teacher and unlabelled images are ready to use."""

    spec: NetSpec
    data: SceneData
    settings: TrainSettings
    folder: Path
    start: Start = field(default_factory=Start)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    teacher: Teacher | None = None
    unlabelled: UnlabelledImages | None = None

    @property
    def layout(self) -> RunLayout:
        """Where everything of the run lies."""
        return RunLayout(self.folder, has_exits=bool(self.spec.exit_blocks))

    def _describe_distillation(self) -> dict[str, Any] | None:
        if self.teacher is None:
            return None
        asked, unlabelled = asdict(self.distillation), self.unlabelled
        named, start = (asked.pop("teacher") or "").casefold(), asked.pop("teacher_start")
        asked.pop("unlabelled")  # paths: their content identifies them, not their spelling
        described: dict[str, Any] = {
            "settings": asked,
            "teacher_name": named if named in BACKBONES else "checkpoint",
            "teacher": self.teacher.source,
            "unlabelled": unlabelled and {"images": len(unlabelled.files), "sha256": unlabelled.sha256},
        }
        return described | ({"teacher_start": weights_digest(start)} if start else {})

    def learned_from(self) -> LearnedFrom:
        """What the run will have learned from, its starting weights and its teacher included.

        ImageNet weights that come as packages are omitted: they are no scenes. A CheckpointError where a checkpoint
        cannot be read.
        """
        found = learned_from_split(self.data.split)
        if self.unlabelled is not None:
            found |= LearnedFrom(self.unlabelled.fingerprints, b"")
        if self.start.checkpoint is not None:
            found |= learned_from_weights(self.start.checkpoint)
        if self.teacher is not None:
            weights = self.teacher.weights
            found |= learned_from_weights(weights) if weights else learned_from_unknown("the teacher")
        return found

    def record(self) -> RunRecord:
        """All that decides the result, with the precision that this machine would use."""
        settings, source = self.settings, self.data.source
        return RunRecord(
            network=self.spec,
            data=self.data.record(),
            source=replace(source, root=source.root.resolve()),
            settings=settings,
            precision=choose_precision(settings.precision, choose_device(settings.device)),
            start=describe_start(self.start),
            distillation=self._describe_distillation(),
            versions={"gfnet_dynn": __version__, "torch": torch.__version__, "python": platform.python_version()},
        )


def stored_record(folder: Path) -> RunRecord:
    """The record of the run in a folder; a TrainingError where there is no run, or its record is damaged."""
    file = RunLayout(folder).record
    if not file.is_file():
        raise TrainingError(f"no run to resume in {folder}: start it without --resume")
    return structured_file(RunRecord, file, lambda fault: TrainingError(f"{fault}; start again without --resume"))


def remembered_source(folder: Path, data_path: Path | None = None) -> Source:
    """The data set that a run was trained on, in `data_path` if it was moved there.

    Raises:
        CheckpointError: there is no run, or its record is damaged.
        DataError: the data are no longer where they were; names the path and `--data-path`.
    """
    file = RunLayout(folder).record
    if not file.is_file():
        raise CheckpointError(f"{folder} is not the folder of a run: it has no {file.name}")
    source = structured_file(RunRecord, file, CheckpointError).source
    if data_path is not None:
        return replace(source, root=data_path)
    if not source.root.is_dir():
        raise DataError(
            f"the images of {source.name} that {folder} was trained on are no longer in {source.root}: give their "
            "folder with --data-path"
        )
    return source


def record_to_resume(plan: RunPlan) -> RunRecord:
    """The record of the run in the plan's folder, if it is the run that the plan describes.

    A TrainingError where there is no run, its record is damaged, or it was made with other choices.
    """
    stored = stored_record(plan.folder)
    if differing := _differing(stored.to_dict(), plan.record().to_dict()):
        raise TrainingError(
            f"the run in {plan.folder} was started with other choices ({'; '.join(differing)}): resume with the same, "
            "or start again without --resume"
        )
    return stored


def can_resume(plan: RunPlan) -> bool:
    """Whether the folder holds the very run that the plan describes, finished or not."""
    try:
        record_to_resume(plan)
    except TrainingError:
        return False
    return True


def _differing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    differing = [
        f"{flag(key)} {stored['settings'][key]} then, {value} now"
        for key, value in wanted["settings"].items()
        if key not in _MAY_CHANGE and stored["settings"][key] != value
    ]
    if stored["precision"] != wanted["precision"]:
        differing.append(f"precision {stored['precision']} then, {wanted['precision']} now")
    for key in ("network", "data", "start", "distillation"):
        both = [each[key] or {} for each in (stored, wanted)]
        if key == "start":
            both = _comparable_starts(*both)
        if parts := sorted(part for part in {*both[0], *both[1]} if both[0].get(part) != both[1].get(part)):
            differing.append(f"{key}: {', '.join(parts)}")
    return differing


def _comparable_starts(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What two runs start from: weights are compared by their digest, whatever their path.

    Where the weights are gone, or were those of the run that lay in this one's place, by their path.
    """
    digests = stored.get("sha256"), wanted.get("sha256")
    by_path = None in digests or "moved_to" in stored
    omitted = {"checkpoint", "sha256", "moved_to"} - {"checkpoint" if by_path else "sha256"}
    return [{key: value for key, value in each.items() if key not in omitted} for each in (stored, wanted)]
