"""Events of a training, and who records them: JSON lines always, TensorBoard and MLflow where asked for. No torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from gfnet_dynn.errors import MissingExtraError, StorageError, TrainingError
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.system.storage import json_line, make_folder, write_bytes


@dataclass(frozen=True, slots=True)
class StageExtent:
    """How long a stage is: at most `epochs` (0 where it takes no gradient steps) of `images` each."""

    name: str
    epochs: int
    images: int


class Reporter:
    """Receives the events of a training; subclasses override those that they use."""

    def run_started(self, stages: Sequence[StageExtent]) -> None:
        """Training starts; `stages` are those that are not finished yet."""

    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """A stage starts, or is resumed at `first_epoch` (0-based)."""

    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """An optimiser step on `images` images was taken."""

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch ended; metrics by name: mean losses, accuracies (0 to 1, selection split), images/s, seconds."""

    def stage_ended(self, stage: str, accuracies: Mapping[str, float]) -> None:
        """A stage ended; accuracies by exit (0 to 1, selection split), after classifiers were refitted."""

    def close(self, *, completed: bool) -> None:
        """Nothing follows; `completed`: all stages ended."""


class Reporters(Reporter):
    """Passes every event on to several reporters."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)
        for event in (name for name in vars(Reporter) if not name.startswith("_")):
            setattr(self, event, partial(self._pass_on, event))

    def _pass_on(self, event: str, *details: Any, **named: Any) -> None:
        for reporter in self._reporters:
            getattr(reporter, event)(*details, **named)


class JsonlTracker(Reporter):
    """Appends one JSON object for each epoch to a file; a resumed run appends to the same file."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One line."""
        line = json_line({"stage": stage, "epoch": epoch, **metrics})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StorageError(f"cannot append to {self._path}: {error.strerror}") from error


class TensorBoardTracker(Reporter):
    """Writes the metrics of each epoch as scalars, named STAGE/METRIC."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 # slow to import
        except ImportError as error:
            raise MissingExtraError("TensorBoard", "train") from error
        self._folder = folder
        with self._storage_errors():
            self._writer: Any = SummaryWriter(str(folder))

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One scalar for each metric."""
        with self._storage_errors():
            for name, value in metrics.items():
                self._writer.add_scalar(f"{stage}/{name}", value, epoch)
            self._writer.flush()

    def close(self, *, completed: bool) -> None:
        """Close the event file."""
        with self._storage_errors():
            self._writer.close()

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write into {self._folder}: {error}; free space, or train with --no-tensorboard"
            ) from error


class MLflowTracker(Reporter):
    """Logs settings and metrics to the MLflow server at MLFLOW_TRACKING_URI; a resumed run continues its MLflow run.

    A server that no longer answers must not end hours of training: such an error is reported once, and the JSON lines
    have all metrics anyway. One that does not answer at the start is an error.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._mlflow = require_mlflow()
        self._failed = False
        known = RunLayout(folder).mlflow_run_id
        try:
            self._mlflow.set_experiment("gfnet-dynn")
            if known.is_file():
                self._mlflow.start_run(run_id=known.read_text(encoding="utf-8").strip())
                return
            run = self._mlflow.start_run(run_name=folder.name)
            self._mlflow.log_params(dict(settings))
        except self._mlflow.exceptions.MlflowException as error:
            raise TrainingError(
                f"MLflow does not answer: {error}; correct MLFLOW_TRACKING_URI, or omit --mlflow"
            ) from error
        write_bytes(known, str(run.info.run_id).encode())

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the epoch."""
        with self._reported_once():
            self._mlflow.log_metrics({f"{stage}/{name}": value for name, value in metrics.items()}, step=epoch)

    def close(self, *, completed: bool) -> None:
        """End the run with its status."""
        with self._reported_once():
            self._mlflow.end_run(status="FINISHED" if completed else "KILLED")

    @contextmanager
    def _reported_once(self) -> Iterator[None]:
        try:
            yield
        except self._mlflow.exceptions.MlflowException as error:
            if not self._failed:
                warnings.warn(f"MLflow does not take the metrics: {error}", stacklevel=4)
            self._failed = True


def require_mlflow() -> ModuleType:
    """The mlflow package, or a MissingExtraError where it is not installed."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # to its makers; the tracking server is the user's own
    try:
        import mlflow  # noqa: PLC0415 # optional
    except ImportError as error:
        raise MissingExtraError("MLflow tracking", "mlflow") from error
    module: ModuleType = mlflow
    return module
