"""A run that was killed, interrupted or refused goes on to the same weights, to the last bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.train.engine.interruption import Interruption, TrainingInterrupted
from gfnet_dynn.train.engine.tracking import JsonlTracker, Reporter, Reporters
from gfnet_dynn.train.runs.run import open_run, train
from tests.fuzz.mutated_checkpoints import signed
from tests.train.drive import SendSignal, plan_run

pytestmark = pytest.mark.usefixtures("quick_refit", "one_thread")

STAGES = ("backbone", "warmup", "joint")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unbroken(scenes: Path, tmp_path_factory: pytest.TempPathFactory, quick_refit: None) -> dict[str, torch.Tensor]:
    """Weights of a run that nothing stopped."""
    torch.set_num_threads(1)
    plan = plan_run(scenes, tmp_path_factory.mktemp("unbroken"), 5)
    run = open_run(plan, resume=False)
    return dict(load_checkpoint(train(run, Reporter())).state)


def assert_same(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    state = load_checkpoint(path).state
    assert state.keys() == wanted.keys()
    differing = [name for name in wanted if not torch.equal(state[name], wanted[name])]
    assert not differing


@pytest.mark.parametrize("minutes", [5, 0], ids=["checkpoint at each epoch", "checkpoint at each step"])
def test_killed_in_every_stage(scenes: Path, tmp_path: Path, unbroken: dict[str, torch.Tensor], minutes: float) -> None:
    command = [sys.executable, "-m", "tests.train.drive", str(scenes), str(tmp_path), str(minutes), *STAGES]
    killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert killed.returncode == 0, killed.stderr
    plan = plan_run(scenes, tmp_path, minutes)
    run = open_run(plan, resume=True)
    assert_same(train(run, Reporter()), unbroken)


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(ignored: signal.Signals) -> None:
    before = signal.signal(ignored, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(ignored)
        assert not interruption.requested
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(TrainingInterrupted):
            signal.raise_signal(signal.SIGTERM)
    signal.signal(ignored, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_first_signal_is_a_wish_and_the_handler_is_put_back(number: signal.Signals) -> None:
    def own(*_: object) -> None: ...

    before = signal.signal(number, own)
    with Interruption() as interruption:
        signal.raise_signal(number)
        assert interruption.requested
    assert signal.getsignal(number) is own
    signal.signal(number, before)


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted(scenes: Path, tmp_path: Path, unbroken: dict[str, torch.Tensor], stage: str) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    run = open_run(plan, resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(run, SendSignal(signal.SIGINT, stage))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler was not put back"
    run = open_run(plan, resume=True)
    assert_same(train(run, Reporter()), unbroken)


@pytest.mark.parametrize(
    ("changes", "stage", "epoch"),
    [
        ({"patience": 1, "warmup_epochs": 6, "lr": 1e-6}, "warmup", 1),  # a frozen head stays frozen
        ({"optimizer": "sgd"}, "joint", 1),
        ({"precision": "bf16-mixed"}, "backbone", 1),
        ({"freeze_backbone": True, "refit": False}, "joint", 2),
    ],
    ids=["frozen heads", "sgd", "bf16", "frozen backbone"],
)
def test_interrupted_under_other_settings(
    scenes: Path, tmp_path: Path, changes: dict[str, Any], stage: str, epoch: int
) -> None:
    whole = plan_run(scenes, tmp_path / "whole", 5, **changes)
    wanted = load_checkpoint(train(open_run(whole, resume=False), Reporter())).state
    plan = plan_run(scenes, tmp_path / "broken", 5, **changes)
    with pytest.raises(KeyboardInterrupt):
        train(open_run(plan, resume=False), SendSignal(signal.SIGINT, stage, epoch, 0))
    assert_same(train(open_run(plan, resume=True), Reporter()), dict(wanted))


def test_the_metrics_of_a_broken_epoch_are_those_of_a_whole_one(scenes: Path, tmp_path: Path) -> None:
    def losses(file: Path) -> list[tuple[str, int, float]]:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [(line["stage"], line["epoch"], line.get("loss/network", 0.0)) for line in lines]

    whole, broken = plan_run(scenes, tmp_path / "whole", 5), plan_run(scenes, tmp_path / "broken", 5)
    train(open_run(whole, resume=False), JsonlTracker(tmp_path / "whole.jsonl"))
    run = open_run(broken, resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(run, Reporters([JsonlTracker(tmp_path / "broken.jsonl"), SendSignal(signal.SIGINT, "backbone")]))
    train(open_run(broken, resume=True), JsonlTracker(tmp_path / "broken.jsonl"))
    assert losses(tmp_path / "broken.jsonl") == losses(tmp_path / "whole.jsonl")


def test_a_finished_run_is_not_trained_again(scenes: Path, tmp_path: Path) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    run = open_run(plan, resume=False)
    model = train(run, Reporter())
    written = model.stat().st_mtime_ns
    run = open_run(plan, resume=True)
    assert train(run, Reporter()) == model
    assert model.stat().st_mtime_ns == written
    assert not list(plan.folder.rglob("state.safetensors"))


def test_a_damaged_state_is_named(scenes: Path, tmp_path: Path) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    run = open_run(plan, resume=False)
    with pytest.raises(TrainingInterrupted):
        train(run, SendSignal(signal.SIGHUP, "warmup"))
    state = plan.folder / "checkpoint_warmup" / "state.safetensors"
    whole = state.read_bytes()
    tensors = safetensors.torch.load(whole)
    with safetensors.safe_open(state, "pt") as file:
        described = json.loads(file.metadata()["json"])
    hostile = [
        (tensors, {**described, "memory": {}}),
        (tensors, {**described, "position": {**described["position"], "epoch": "1"}}),
        (tensors, {**described, "stage": "joint"}),
        (tensors, [described]),
        ({name: tensor[:1] for name, tensor in tensors.items() if tensor.dim()}, described),
        ({name: tensor for name, tensor in tensors.items() if not name.startswith("net/")}, described),
    ]
    for damaged in (
        *(whole[:1000], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]),
        *(signed(held, json.dumps(header)) for held, header in hostile),
    ):
        state.write_bytes(damaged)
        run = open_run(plan, resume=True)
        with pytest.raises(CheckpointError, match=r"state\.safetensors"):
            train(run, Reporter())
