"""Metrics on record: JSON lines always, TensorBoard and MLflow where wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.storage import make_folder
from gfnet_dynn.train.reporter import Reporter


class JsonlTracker(Reporter):
    """Appends one JSON object for each epoch to a file; a resumed run goes on in the same file."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One line."""
        line = json.dumps({"stage": stage, "epoch": epoch, **metrics})
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
        self._writer: Any = SummaryWriter(str(folder))

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One scalar for each metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class MLflowTracker(Reporter):
    """Logs settings and metrics to MLflow, where MLFLOW_TRACKING_URI says."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self._mlflow = _import_mlflow()
        self._mlflow.set_experiment("gfnet-dynn")
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(dict(settings))

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the epoch."""
        self._mlflow.log_metrics({f"{stage}/{name}": value for name, value in metrics.items()}, step=epoch)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


def _import_mlflow() -> ModuleType:
    try:
        import mlflow  # noqa: PLC0415 # optional
    except ImportError as error:
        raise MissingExtraError("MLflow tracking", "mlflow") from error
    module: ModuleType = mlflow
    return module
