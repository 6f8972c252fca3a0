"""Whole trainings in several processes: as one process trains, resumable in any number, and never left waiting."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gfnet_dynn.data.request import DataOptions
from gfnet_dynn.errors import BusyError, ImageError, ReportedElsewhereError, StorageError
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.model.weights import state_digest
from gfnet_dynn.spec.network import NetworkOptions
from gfnet_dynn.system.storage import one_at_a_time
from gfnet_dynn.train.engine.interruption import TrainingInterrupted
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.engine.tracking import JsonlTracker, Reporter, Reporters
from gfnet_dynn.train.request import DistillationSettings, RunOptions, TrainRequest, TrainSettings
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.workflows.training import train as train_request
from tests.train.drive import SendSignal, plan_run
from tests.train.together import run_together

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_refit", "one_thread")]

CLOSE = 0.05
"""What losses may differ by: rounding, which training amplifies."""


def trained(scenes: Path, place: Path, *reporters: Reporter, resume: bool = False, **changes: Any) -> str:
    """Train in this process and those with it; the digest of the weights here."""
    plan = plan_run(scenes, place, 5, **changes)
    run = open_run(plan, resume=resume)
    train(run, Reporters([JsonlTracker(place / "metrics.jsonl"), *reporters]))
    return state_digest(run.net.state_dict())


def metrics(place: Path) -> dict[tuple[str, int], Mapping[str, float]]:
    """By stage and epoch."""
    lines = map(json.loads, (place / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {(line.pop("stage"), line.pop("epoch")): line for line in lines}


def selection_accuracy(place: Path) -> Mapping[str, float]:
    model = place / "run" / "checkpoint_result" / "model.safetensors"
    accuracies: Mapping[str, float] = load_checkpoint(model).provenance["selection_accuracy"]
    return accuracies


def assert_alike(place: Path, alone: Path) -> None:
    """The same epochs, losses and accuracies; one image of the 16 of the selection split may differ."""
    found, wanted = metrics(place), metrics(alone)
    assert found.keys() == wanted.keys()
    for epoch, values in wanted.items():
        assert found[epoch].keys() == values.keys()
        for name in values.keys() - {"images_per_s", "seconds"}:
            limit = CLOSE if name.startswith("loss/") else 1 / 16
            assert found[epoch][name] == pytest.approx(values[name], abs=limit), f"{epoch}, {name}"
    for name, value in selection_accuracy(alone).items():
        assert selection_accuracy(place)[name] == pytest.approx(value, abs=1 / 16)


@pytest.fixture(scope="module")
def alone(scenes: Path, tmp_path_factory: pytest.TempPathFactory, quick_refit: None) -> Path:
    """The folder of a training in one process."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("alone")
    trained(scenes, place)
    return place


@pytest.mark.parametrize("processes", [2, 3])
def test_the_metrics_are_those_of_one_process(scenes: Path, tmp_path: Path, alone: Path, processes: int) -> None:
    digests = run_together(lambda: trained(scenes, tmp_path), processes)
    assert len(set(digests)) == 1, "the processes end with different weights"
    assert_alike(tmp_path, alone)


def test_resumed_by_another_number_of_processes(scenes: Path, tmp_path: Path, alone: Path) -> None:
    def part(resume: bool, *reporters: Reporter) -> Callable[[], str]:
        return lambda: trained(scenes, tmp_path, *reporters, resume=resume)

    for stopped in run_together(part(False, SendSignal(signal.SIGTERM, "backbone"))):
        assert isinstance(stopped, TrainingInterrupted), stopped
    with pytest.raises(TrainingInterrupted):
        part(True, SendSignal(signal.SIGINT, "warmup", 1, 1))()
    for stopped in run_together(part(True, SendSignal(signal.SIGINT, "joint"))):
        assert isinstance(stopped, TrainingInterrupted), stopped
    assert len(set(run_together(part(True), 3))) == 1
    assert_alike(tmp_path, alone)


def test_frozen_heads_and_a_frozen_backbone_leave_nobody_waiting(scenes: Path, tmp_path: Path) -> None:
    def part() -> str:
        return trained(scenes, tmp_path, freeze_backbone=True, refit=False, patience=1, lr=1e-6)

    assert len(set(run_together(part))) == 1


def test_an_image_that_one_process_cannot_read_ends_all(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[Path]()

    def failing(path: Path, *more: Any) -> Any:
        seen.append(path)
        if Ranks().rank == 1 and len(seen) > 20:
            raise ImageError(f"cannot read {path}")
        return load_input(path, *more)

    monkeypatch.setattr("gfnet_dynn.data.scenes.load_input", failing)
    began = time.perf_counter()
    waiting, failed = run_together(lambda: trained(scenes, tmp_path))
    assert isinstance(failed, ImageError)
    assert isinstance(waiting, ReportedElsewhereError)
    assert time.perf_counter() - began < 30


class FullDisk(Reporter):
    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        raise StorageError("no space")


def test_a_full_disk_ends_all(scenes: Path, tmp_path: Path) -> None:
    writing, other = run_together(lambda: trained(scenes, tmp_path, FullDisk()))
    assert isinstance(writing, StorageError)
    assert isinstance(other, ReportedElsewhereError)
    assert "no space" in str(other)


def torchrun(scenes: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    """The command of the documentation, with two processes."""
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "gfnet_dynn"]
    network = ["--model", "gfnet-96x8", "--exits", "1", "--input-size", "32", "--warmup-epochs", "1", "--device", "cpu"]
    command = [*program, "train", str(scenes), *network, "--output", str(output), "--no-tensorboard", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_torchrun_from_the_command_line(scenes: Path, tmp_path: Path) -> None:
    process = torchrun(scenes, tmp_path, "--num-epoch", "200")
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch   2/200" in line:
            break
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=100)
    assert printed.count("interrupted; the state is saved") == 1, errors
    (state,) = tmp_path.rglob("state.safetensors")
    run = state.parent.parent
    # Other choices are refused, once, and in the words of one process.
    refused = torchrun(scenes, tmp_path, "--num-epoch", "2", "--resume")
    _, errors = refused.communicate(timeout=100)
    assert refused.returncode != 0
    assert errors.count("error: the run in") == 1, errors
    assert "--num-epoch 200 then, 2 now" in errors
    short = torchrun(scenes, tmp_path, "--num-epoch", "2", "--evaluate")
    printed, errors = short.communicate(timeout=200)
    assert short.returncode == 0, errors
    assert printed.count("images: train") == printed.count("Joint stage, result") == 1, "one process prints"
    assert (run / "checkpoint_result" / "model.safetensors").is_file()
    assert (tmp_path / ".previous").is_dir(), "the unfinished run was not moved aside"


def test_a_teacher_is_trained_by_all_and_the_result_is_known_to_all(scenes: Path, tmp_path: Path) -> None:
    request = TrainRequest(
        folder=scenes,
        data=DataOptions(input_size=32),
        network=NetworkOptions(model="gfnet-96x8", exits=(1,)),
        distillation=DistillationSettings(teacher="gfnet-96x8", teacher_size=32, teacher_epochs=1),
        training=TrainSettings(num_epoch=1, warmup_epochs=1, batch=16, device="cpu"),
        run=RunOptions(output=tmp_path, tensorboard=False),
    )

    def work() -> tuple[object, list[str]]:
        lines = list[str]()
        return train_request(request, log=lines.append), lines

    (first, printed), (other, silent) = run_together(work)
    assert first == other
    assert any("accuracy of the teacher on the selection split" in line for line in printed)
    assert silent == []
    assert len(list((tmp_path / "teachers").glob("*/checkpoint_result/model.safetensors"))) == 1


def test_a_folder_that_is_in_use_is_refused_in_all(scenes: Path, tmp_path: Path) -> None:
    request = TrainRequest(folder=scenes, run=RunOptions(output=tmp_path), network=NetworkOptions(model="gfnet-96x8"))
    folder = tmp_path / f"checkpoint_{scenes.name}_0.75_confEE"
    with one_at_a_time(folder):
        refused, other = run_together(lambda: train_request(request))
    assert isinstance(refused, BusyError)
    assert isinstance(other, ReportedElsewhereError)
