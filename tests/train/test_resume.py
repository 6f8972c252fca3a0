"""A run that was killed, interrupted or refused goes on to the same weights, to the last bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.train.interruption import Interruption
from gfnet_dynn.train.reporter import Reporter
from gfnet_dynn.train.run import open_run, train
from tests.train.drive import Signal, plan_run

STAGES = ("backbone", "warmup", "joint")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """As in the killed process: sums over several threads may differ in the last bit from sums over one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unbroken(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of a run that nothing stopped."""
    torch.set_num_threads(1)
    plan = plan_run(scenes, tmp_path_factory.mktemp("unbroken"), 5)
    open_run(plan, resume=False)
    return dict(load_checkpoint(train(plan, Reporter())).state)


def assert_same(path: Path, wanted: dict[str, torch.Tensor]) -> None:
    state = load_checkpoint(path).state
    assert state.keys() == wanted.keys()
    differing = [name for name in wanted if not torch.equal(state[name], wanted[name])]
    assert not differing


@pytest.mark.parametrize("minutes", [5, 0], ids=["checkpoint at each epoch", "checkpoint at each step"])
def test_killed_in_every_stage(scenes: Path, tmp_path: Path, unbroken: dict[str, torch.Tensor], minutes: float) -> None:
    for stage in STAGES:
        command = [sys.executable, "-m", "tests.train.drive", str(scenes), str(tmp_path), str(minutes), stage]
        killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    plan = plan_run(scenes, tmp_path, minutes)
    open_run(plan, resume=True)
    assert_same(train(plan, Reporter()), unbroken)


@pytest.fixture
def sigint_heard() -> object:
    """Tests started in the background of a shell ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert not interruption.requested
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_heard")
@pytest.mark.parametrize("stage", STAGES)
def test_interrupted(scenes: Path, tmp_path: Path, unbroken: dict[str, torch.Tensor], stage: str) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    open_run(plan, resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(plan, Signal(signal.SIGINT, stage))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "the handler was not put back"
    open_run(plan, resume=True)
    assert_same(train(plan, Reporter()), unbroken)


def test_a_finished_run_is_not_trained_again(scenes: Path, tmp_path: Path) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    open_run(plan, resume=False)
    model = train(plan, Reporter())
    written = model.stat().st_mtime_ns
    open_run(plan, resume=True)
    assert train(plan, Reporter()) == model
    assert model.stat().st_mtime_ns == written
    assert not list(plan.folder.rglob("state.safetensors"))


def test_a_damaged_state_is_named(scenes: Path, tmp_path: Path) -> None:
    plan = plan_run(scenes, tmp_path, 5)
    open_run(plan, resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(plan, Signal(signal.SIGTERM, "warmup"))
    state = plan.folder / "checkpoint_warmup" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    open_run(plan, resume=True)
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        train(plan, Reporter())
