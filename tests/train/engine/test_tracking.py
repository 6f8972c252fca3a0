"""Metrics on record."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gfnet_dynn.errors import MissingExtraError, StorageError, TrainingError
from gfnet_dynn.train.engine.tracking import (
    JsonlTracker,
    MLflowTracker,
    Reporter,
    Reporters,
    TensorBoardTracker,
    require_mlflow,
)


def test_json_lines_are_appended(tmp_path: Path) -> None:
    for epoch in range(2):
        JsonlTracker(tmp_path / "deep" / "metrics.jsonl").epoch_ended("joint", epoch, {"loss/network": 0.5})
    lines = (tmp_path / "deep" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"stage": "joint", "epoch": epoch, "loss/network": 0.5} for epoch in range(2)
    ]


def test_tensorboard_gets_every_metric(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 # slow

    tracker = TensorBoardTracker(tmp_path)
    tracker.epoch_ended("warmup", 3, {"accuracy/exit1": 0.25})
    tracker.close(completed=True)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (scalar,) = events.Scalars("warmup/accuracy/exit1")
    assert (scalar.step, scalar.value) == (3, 0.25)


class FakeMLflow(SimpleNamespace):
    """Records what is called, and hands out one run."""

    def __init__(self) -> None:
        super().__init__(exceptions=SimpleNamespace(MlflowException=ValueError))
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        for name in ("set_experiment", "log_params", "log_metrics", "end_run"):
            setattr(self, name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., None]:
        return lambda *a, **k: self.calls.append((name, a, k))

    def start_run(self, **options: Any) -> SimpleNamespace:
        self.calls.append(("start_run", (), options))
        return SimpleNamespace(info=SimpleNamespace(run_id="run-7"))


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMLflow:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def test_mlflow_gets_settings_and_metrics_and_goes_on_in_the_same_run(mlflow: FakeMLflow, tmp_path: Path) -> None:
    tracker = MLflowTracker(tmp_path, {"lr": 0.1})
    tracker.epoch_ended("joint", 4, {"loss/gates": 0.5})
    tracker.close(completed=False)
    assert ("log_params", ({"lr": 0.1},), {}) in mlflow.calls
    assert ("log_metrics", ({"joint/loss/gates": 0.5},), {"step": 4}) in mlflow.calls
    assert mlflow.calls[-1] == ("end_run", (), {"status": "KILLED"})
    MLflowTracker(tmp_path, {"lr": 0.1}).close(completed=True)
    assert ("start_run", (), {"run_id": "run-7"}) in mlflow.calls
    assert mlflow.calls[-1] == ("end_run", (), {"status": "FINISHED"})


def test_an_mlflow_server_that_fails_is_noted_once_and_ends_nothing(mlflow: FakeMLflow, tmp_path: Path) -> None:
    def refuse(*a: Any, **k: Any) -> None:
        raise ValueError("no server")

    mlflow.log_metrics = refuse
    tracker = MLflowTracker(tmp_path, {})
    with pytest.warns(UserWarning, match="MLflow does not take the metrics: no server"):
        tracker.epoch_ended("joint", 0, {})
    tracker.epoch_ended("joint", 1, {})


def test_an_mlflow_server_that_is_gone_at_the_end_does_not_spoil_a_finished_run(
    mlflow: FakeMLflow, tmp_path: Path
) -> None:
    def gone(*a: Any, **k: Any) -> None:
        raise ValueError("gone")

    tracker = MLflowTracker(tmp_path, {})
    mlflow.end_run = gone
    with pytest.warns(UserWarning, match="MLflow does not take the metrics: gone"):
        tracker.close(completed=True)
    mlflow.set_experiment = gone
    with pytest.raises(TrainingError, match="MLflow does not answer: gone"):
        MLflowTracker(tmp_path, {})


def test_mlflow_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"gfnet-dynn\[mlflow\]"):
        require_mlflow()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_json_lines_on_a_full_disk_are_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot append to .*metrics\.jsonl: No space left"):
        JsonlTracker(tmp_path / "metrics.jsonl").epoch_ended("joint", 0, {})


def test_tensorboard_on_a_full_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = TensorBoardTracker(tmp_path)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._writer, "flush", full)
    with pytest.raises(StorageError, match="--no-tensorboard"):
        tracker.epoch_ended("joint", 0, {"loss": 1.0})
    monkeypatch.undo()
    tracker.close(completed=False)


def test_a_group_passes_everything_on() -> None:
    heard: list[str] = []
    listener = Reporter()
    for name in ("run_started", "stage_started", "step_taken", "epoch_ended", "stage_ended", "close"):
        setattr(listener, name, lambda *a, name=name, **k: heard.append(name))
    group = Reporters([listener, Reporter()])
    group.run_started([])
    group.stage_started("joint", 1, 2, 0)
    group.step_taken("joint", 0, 0, 2, {})
    group.epoch_ended("joint", 0, {})
    group.stage_ended("joint", {})
    group.close(completed=True)
    assert heard == ["run_started", "stage_started", "step_taken", "epoch_ended", "stage_ended", "close"]
