"""The folder of a training run: names of its files, and the stages of training in their order."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.wording import some

WEIGHTS_SUFFIX = ".safetensors"


class TrainingStage(NamedTuple):
    """One stage of training: its name in files, its title for people, and the folder of its result, as published."""

    name: str
    title: str
    folder: str


STAGES = (
    TrainingStage("backbone", "Backbone", "checkpoint_backbone"),
    TrainingStage("warmup", "Warm-up of the exits", "checkpoint_warmup"),
    TrainingStage("joint", "Joint stage", "checkpoint_result"),
)
TITLES = {stage.name: stage.title for stage in STAGES}

_MODEL = f"model{WEIGHTS_SUFFIX}"
_RESULT = STAGES[-1].folder


class RunLayout:
    """Where everything of a run lies.

    Attributes:
        folder: of the run.
        record: every choice of the run, and what it learns from.
        split: which image serves for what in this run.
        metrics: a JSON line for each epoch.
        tensorboard: folder of event files.
        mlflow_run_id: which MLflow run this one is logged to.
        evaluation: what `gfnet-dynn evaluate` found, where it was evaluated on its own data.
    """

    def __init__(self, folder: Path, *, has_exits: bool = True) -> None:
        """`has_exits`: of a network without exits the backbone is the result."""
        self.folder = folder
        self.record = folder / "run.json"
        self.split = folder / "split.json"
        self.metrics = folder / "metrics.jsonl"
        self.tensorboard = folder / "tensorboard"
        self.mlflow_run_id = folder / "mlflow_run_id"
        self.evaluation = folder / _RESULT / "evaluation" / "evaluation.json"
        self._folders = {each.name: folder / (each.folder if has_exits else _RESULT) for each in STAGES}

    def model(self, stage: str = STAGES[-1].name) -> Path:
        """The result of a finished stage; of the last one by default."""
        return self._folders[stage] / _MODEL

    def state(self, stage: str) -> Path:
        """The state of an unfinished stage."""
        return self._folders[stage] / f"state{WEIGHTS_SUFFIX}"

    def has_progress(self) -> bool:
        """Whether any stage can be resumed, or is finished."""
        return any(self.model(each.name).is_file() or self.state(each.name).is_file() for each in STAGES)


def run_folder(output: Path, data_set: str, tradeoff: float) -> Path:
    """Where a run lies, named as published."""
    return output / f"checkpoint_{data_set}_{tradeoff}_confEE"


def find_checkpoint_file(path: Path) -> Path:
    """The weights file that a user's path means: a file, a folder with `model.safetensors`, or a run's folder.

    Raises:
        CheckpointError: there is none.
    """
    for candidate in (path, path / _MODEL, RunLayout(path).model()):
        if candidate.is_file():
            return candidate
    name = RunLayout(path).record.name
    if runs := sorted(str(record.parent) for depth in ("*", "*/*") for record in path.glob(f"{depth}/{name}")):
        raise CheckpointError(f"{path} holds the runs {some(runs)}: name one")
    raise CheckpointError(f"no checkpoint at {path}: expected a .pth or .safetensors file, or the folder of a run")


def run_of_checkpoint(file: Path) -> RunLayout | None:
    """The run that a weights file belongs to, where it lies in the folder of one."""
    layout = RunLayout(file.resolve().parent.parent)
    return layout if layout.record.is_file() else None
