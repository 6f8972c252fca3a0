"""Metrics on record."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gfnet_dynn.errors import MissingExtraError
from gfnet_dynn.train.reporter import Reporter, Reporters
from gfnet_dynn.train.tracking import JsonlTracker, MLflowTracker, TensorBoardTracker


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
    tracker.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (scalar,) = events.Scalars("warmup/accuracy/exit1")
    assert (scalar.step, scalar.value) == (3, 0.25)


def test_mlflow_gets_settings_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    fake = SimpleNamespace(**{n: lambda *a, n=n, **k: calls.append((n, (a, k))) for n in names})
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    tracker = MLflowTracker("run", {"lr": 0.1})
    tracker.epoch_ended("joint", 4, {"loss/gates": 0.5})
    tracker.close()
    assert ("log_params", (({"lr": 0.1},), {})) in calls
    assert ("log_metrics", (({"joint/loss/gates": 0.5},), {"step": 4})) in calls
    assert calls[-1][0] == "end_run"


def test_mlflow_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"gfnet-dynn\[mlflow\]"):
        MLflowTracker("run", {})


def test_a_group_passes_everything_on() -> None:
    heard: list[str] = []
    listener = Reporter()
    for name in ("stage_started", "step_taken", "epoch_ended", "stage_ended", "said", "close"):
        setattr(listener, name, lambda *a, name=name: heard.append(name))
    group = Reporters([listener, Reporter()])
    group.stage_started("joint", 1, 2, 0)
    group.step_taken("joint", 0, 0, 2, {})
    group.epoch_ended("joint", 0, {})
    group.stage_ended("joint")
    group.said("hello")
    group.close()
    assert heard == ["stage_started", "step_taken", "epoch_ended", "stage_ended", "said", "close"]
