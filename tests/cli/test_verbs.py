"""The other verbs of `gfnet-dynn`."""

from __future__ import annotations

import errno
import io
from functools import partial
from pathlib import Path

import pytest

from gfnet_dynn.cli.progress import TrainingProgress
from gfnet_dynn.cli.terminal import ProgressBars, Terminal
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.train.engine.tracking import StageExtent
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("quick_refit")

COST = ("gfnet-dynn", "cost")


def test_cost_lists_every_model(run: Run) -> None:
    outcome = run("gfnet-dynn", "cost")
    assert outcome.status == 0
    assert all(name in outcome.out for name in BACKBONES)
    assert "45 classes" in outcome.out


def test_cost_is_whole_in_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run("gfnet-dynn", "cost")
    student = (
        "gfnet-192x12 256 4.46 M block 3 344 36% 0.69 block 5 497 52% 0.99 block 7 650 68% 1.30 "
        "block 9 803 84% 1.61 last block 957 100% 1.91"
    )
    assert student in outcome.out


def test_cost_shows_the_padding(run: Run) -> None:
    assert "gfnet-192x12 602 + 6 " in run(*COST, "gfnet-192x12", "--input-size", "602", "--pad").out
    assert "gfnet-192x12 608 " in run(*COST, "gfnet-192x12", "--input-size", "608", "--pad").out


@pytest.mark.parametrize(
    "option", [("--num-classes", "1"), ("--exits", "3;5"), ("--exits", "99"), ("--input-size", "7")]
)
def test_what_cannot_be_counted_is_an_error(run: Run, option: tuple[str, str]) -> None:
    outcome = run(*COST, "gfnet-192x12", *option)
    assert outcome.status == 2
    assert option[1].rstrip("9") in outcome.err


def test_cost_of_one_model_with_other_exits(run: Run) -> None:
    outcome = run("gfnet-dynn", "cost", "gfnet-192x12", "--exits", "5", "--input_size", "128")
    assert outcome.status == 0
    assert "gfnet-xs" not in outcome.out
    unknown = run("gfnet-dynn", "cost", "gfnet-xl")
    assert unknown.status == 2
    assert "did you mean 'gfnet-xs'" in unknown.err


def test_train_evaluate_and_benchmark_of_a_run(run: Run, scenes: Path, scenes_config: Path) -> None:
    where = ("--data-set", "Stripes", "--data-path", scenes, "--dataset-config", scenes_config)
    small = ("--model", "gfnet-96x8", "--num-epoch", "1", "--no-tensorboard", "--output", "out")
    trained = run("gfnet-dynn", "train", *where, *small)
    assert trained.status == 0, trained.err
    folder = Path("out/checkpoint_Stripes_0.75_confEE")
    assert not (folder / "tensorboard").exists()
    evaluated = run("gfnet-dynn", "evaluate", folder, "--latency-images", "2")
    assert evaluated.status == 0, evaluated.err
    assert run("gfnet-dynn", "benchmark", folder, "--images", "1", "--repeats", "1").status == 0
    assert run("gfnet-dynn", "evaluate").status == 2
    reported = run("gfnet-dynn", "report", folder, "--output", "compared")
    assert reported.status == 0, reported.err
    assert "Stripes, 24 val images" in reported.out
    assert "gfnet-96x8 32 px 1 " in reported.out
    assert len(list(Path("compared").iterdir())) == 4
    assert "it has no run.json" in run("gfnet-dynn", "report", "out/splits").err


def test_help(run: Run) -> None:
    for verb in ("train", "evaluate", "cost", "benchmark", "data"):
        assert run("gfnet-dynn", verb, "--help").status == 0


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


STAGES = [StageExtent("backbone", 2, 100), StageExtent("warmup", 3, 100), StageExtent("joint", 1, 100)]


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Terminal(force_terminal=True, width=120)  # made to think that it is a terminal
    on_step = partial(ProgressBars(console), "Reading")
    on_step(1, 2)
    on_step(2, 2)
    clock = Clock()
    progress = TrainingProgress(console, clock)
    progress.run_started(STAGES)
    progress.stage_started("backbone", 2, 100, 0)
    clock.now = 10
    progress.step_taken("backbone", 0, 0, 50, {"loss/network": 1.25})
    progress._bar.refresh()
    progress.epoch_ended("backbone", 0, {"loss/network": 1.25, "accuracy/final": 0.5, "images_per_s": 80.0})
    progress.stage_ended("backbone", {"accuracy/final": 0.75})
    progress.log("done")
    progress.close(completed=True)
    printed = capsys.readouterr().out
    for words in (
        "Backbone",
        "epoch 1/2",
        "50/100",
        "5 img/s",
        "epoch   1/2",
        "network 1.250",
        "80 img/s",
        "75.0%",
        "done",
    ):
        assert words in printed


def test_the_time_left_counts_all_stages(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = TrainingProgress(Terminal(width=120), clock)
    progress.run_started(STAGES)
    progress.stage_started("backbone", 2, 100, 0)
    clock.now = 100.0
    progress.step_taken("backbone", 0, 0, 100, {})
    progress.epoch_ended("backbone", 0, {})
    # 1 s an image; 100 images are left here, 300 at a third of the cost in warm-up, 100 in the joint stage.
    assert "≤ 5:00 left for all stages" in capsys.readouterr().out
    progress.stage_started("joint", 1, 100, 0)
    clock.now = 200.0
    progress.step_taken("joint", 0, 0, 100, {})
    progress.epoch_ended("joint", 0, {})
    # The warm-up was not left out; at a third of the joint stage's cost it takes 100 s more.
    assert "≤ 1:40 left for all stages" in capsys.readouterr().out


def test_a_log_that_is_no_terminal_has_a_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress(Terminal(width=120))
    progress.run_started([])
    progress.stage_started("warmup", 2, 32, 0)
    for epoch in range(2):
        for step in range(8):
            progress.step_taken("warmup", epoch, step, 4, {"loss/heads": 1.0})
        progress.epoch_ended("warmup", epoch, {"loss/heads": 1.0, "accuracy/exit1": 0.25})
    progress.stage_ended("warmup", {"accuracy/exit1": 0.875})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    # Before the classifiers are refitted, accuracies would mislead.
    assert not any("25.0%" in line for line in lines)
    assert "exit1 87.5%" in lines[-1]


def test_progress_counts_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress(Terminal(width=120))
    progress.stage_started("backbone", 1, 1, 0)
    progress.stage_started("joint", 2, 32, 0)
    printed = capsys.readouterr().out
    assert "Backbone: at most 1 epoch of 1 image\n" in printed
    assert "Joint stage: at most 2 epochs of 32 images\n" in printed


class Faulty(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "cannot write")


def test_training_outlives_its_terminal() -> None:
    progress = TrainingProgress(Terminal(file=Faulty(errno.EIO), force_terminal=True))
    progress.stage_started("joint", 2, 32, 0)
    progress.step_taken("joint", 0, 0, 16, {"loss/network": 1.25})
    progress.epoch_ended("joint", 0, {"loss/network": 1.25})
    progress.log("done")
    progress.stage_ended("joint", {})
    progress.close(completed=False)


def test_another_fault_of_the_output_is_not_passed_over() -> None:
    with pytest.raises(OSError, match="cannot write"):
        TrainingProgress(Terminal(file=Faulty(errno.ENOSPC))).log("done")
