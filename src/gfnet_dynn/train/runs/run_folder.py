"""A run's folder: what is planned, where it lies, and whether an earlier run in it can be gone on with."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gfnet_dynn import __version__
from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.data.splits.unlabelled import UnlabelledImages
from gfnet_dynn.errors import SpecError, TrainingError
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings, flag
from gfnet_dynn.train.engine.device import choose_device, choose_precision
from gfnet_dynn.train.objectives.teacher import Teacher
from gfnet_dynn.train.runs.start import MODEL_FILE, RESULT_FOLDER, SPLIT_FILE, Start, weights_digest

STAGE_FOLDERS = {"backbone": "checkpoint_backbone", "warmup": "checkpoint_warmup", "joint": RESULT_FOLDER}

_RUN_FILE = "run.json"
_STATE_FILE = "state.safetensors"
_MAY_CHANGE = ("device", "precision", "checkpoint_minutes")  # the precision in force is compared, not the target


def run_folder(output: Path, data_set: str, tradeoff: float) -> Path:
    """Where a run lies, named as published."""
    return output / f"checkpoint_{data_set}_{tradeoff}_confEE"


@dataclass(frozen=True)
class RunPlan:
    """What to train, on what, and how.

    Attributes:
        spec: the network.
        data: split and ready.
        settings: every choice.
        folder: the run's own.
        start: what to start from.
        distillation: how it learns from the teacher.
        teacher: ready to answer, or None.
        unlabelled: further images to learn from, or None.
    """

    spec: NetSpec
    data: SceneData
    settings: TrainSettings
    folder: Path
    start: Start = field(default_factory=Start)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    teacher: Teacher | None = None
    unlabelled: UnlabelledImages | None = None

    @property
    def record_file(self) -> Path:
        """Where the record of the run lies."""
        return self.folder / _RUN_FILE

    @property
    def split_file(self) -> Path:
        """Which image served for what in this run."""
        return self.folder / SPLIT_FILE

    def model_file(self, stage: str) -> Path:
        """The result of a finished stage."""
        return self._stage_folder(stage) / MODEL_FILE

    def state_file(self, stage: str) -> Path:
        """The state of an unfinished stage."""
        return self._stage_folder(stage) / _STATE_FILE

    def _stage_folder(self, stage: str) -> Path:
        # Of a network without exits, the backbone is the result.
        return self.folder / (STAGE_FOLDERS[stage] if self.spec.exit_blocks else RESULT_FOLDER)

    def has_progress(self) -> bool:
        """Whether any stage has left something to go on with."""
        return any(self.model_file(stage).is_file() or self.state_file(stage).is_file() for stage in STAGE_FOLDERS)

    def _describe_distillation(self) -> dict[str, Any] | None:
        if self.teacher is None:
            return None
        unlabelled, start = self.unlabelled, self.distillation.teacher_start
        named = self.distillation.teacher or ""
        paths = ("teacher", "teacher_start", "unlabelled")  # what lies there says more than how it is written
        described: dict[str, Any] = {
            "settings": {key: value for key, value in self.distillation.to_dict().items() if key not in paths},
            "teacher_name": named.casefold() if named.casefold() in BACKBONES else "checkpoint",
            "teacher": self.teacher.source,
            "unlabelled": unlabelled and {"images": len(unlabelled.files), "sha256": unlabelled.sha256},
        }
        return described | ({"teacher_start": weights_digest(start)} if start else {})

    def describe(self, precision: str) -> dict[str, Any]:
        """All that decides the result, as JSON values.

        Args:
            precision: the one in force, where the settings say `auto`.
        """
        described = {
            "network": self.spec.to_dict(),
            "data": dict(self.data.describe()),
            "settings": self.settings.to_dict(),
            "precision": precision,
            "start": self.start.describe(),
            "distillation": self._describe_distillation(),
            "versions": versions(),
        }
        as_stored: dict[str, Any] = json.loads(json.dumps(described))
        return as_stored


def versions() -> dict[str, str]:
    """What the weights depend on beside all choices: other versions may round otherwise."""
    return {"gfnet_dynn": __version__, "torch": torch.__version__, "python": platform.python_version()}


def no_run(folder: Path) -> str:
    """What to say where there is nothing to resume."""
    return f"no run to resume in {folder}: start it without --resume"


def read_record(plan: RunPlan, precision: str) -> dict[str, Any]:
    """The record of the run in the plan's folder, if it is the run that the plan describes.

    Args:
        plan: what is to be gone on with.
        precision: the one in force now.

    Raises:
        TrainingError: there is no run, its record is damaged, or it was made with other choices.
    """
    file = plan.record_file
    if not file.is_file():
        raise TrainingError(no_run(plan.folder))
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        differing = _differing(stored, plan.describe(precision))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from error
    if differing:
        raise TrainingError(
            f"the run in {plan.folder} was started with other choices ({'; '.join(differing)}): resume with the same, "
            "or start anew without --resume"
        )
    return stored


def can_resume(plan: RunPlan) -> bool:
    """Whether the folder holds the very run that the plan describes, finished or not."""
    try:
        settings = plan.settings
        read_record(plan, choose_precision(settings.precision, choose_device(settings.device)))
    except TrainingError:
        return False
    return True


def network_of(folder: Path) -> NetSpec:
    """The network of the run in a folder.

    Raises:
        TrainingError: there is no run, or its record is damaged.
    """
    file = folder / _RUN_FILE
    try:
        return NetSpec.from_dict(json.loads(file.read_text(encoding="utf-8"))["network"])
    except FileNotFoundError as error:
        raise TrainingError(no_run(folder)) from error
    except (OSError, ValueError, KeyError, TypeError, SpecError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> TrainingError:
    return TrainingError(f"cannot read {file}: {error}; start anew without --resume")


def _differing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    differing = [
        f"{flag(key)} {stored['settings'].get(key)} then, {value} now"
        for key, value in wanted["settings"].items()
        if key not in _MAY_CHANGE and stored["settings"].get(key) != value
    ]
    if stored["precision"] != wanted["precision"]:
        differing.append(f"precision {stored['precision']} then, {wanted['precision']} now")
    for key in ("network", "data", "start", "distillation"):
        both = [each[key] if isinstance(each[key], dict) else {} for each in (stored, wanted)]
        if key == "start":
            both = _same_weights_apart(*both)
        if parts := sorted(part for part in {*both[0], *both[1]} if both[0].get(part) != both[1].get(part)):
            differing.append(f"{key}: {', '.join(parts)}")
    return differing


def _same_weights_apart(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What runs start from, without the path of weights that have one digest, and without that of one path.

    Where the weights are gone, or were those of the run that lay in this one's place, the path must do.
    """
    digests = stored.get("sha256"), wanted.get("sha256")
    by_path = None in digests or "moved_to" in stored
    told_apart_by = "checkpoint" if by_path else "sha256"
    left_out = {"checkpoint", "sha256", "moved_to"} - {told_apart_by}
    return [{key: value for key, value in each.items() if key not in left_out} for each in (stored, wanted)]
