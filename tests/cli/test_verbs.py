"""The other verbs of `gfnet-dynn`."""

from __future__ import annotations

import errno
import io
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from gfnet_dynn.cli.render.progress import ProgressBars, TrainingProgress
from gfnet_dynn.spec.backbone import BACKBONES
from tests.cli.conftest import Run

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
    evaluated = run("gfnet-dynn", "evaluate", *where, "--checkpoint-path", folder, "--latency-images", "2")
    assert evaluated.status == 0, evaluated.err
    assert run("gfnet-dynn", "benchmark", folder, "--images", "1", "--repeats", "1").status == 0
    assert run("gfnet-dynn", "evaluate", *where).status == 2
    reported = run("gfnet-dynn", "report", folder, "--output", "compared")
    assert reported.status == 0, reported.err
    assert "## Stripes, 24 val images" in reported.out
    assert "| gfnet-96x8 32 px | 1 |" in reported.out
    assert len(list(Path("compared").iterdir())) == 4
    assert "is no run: it has no run.json" in run("gfnet-dynn", "report", "out/splits").err


def test_help(run: Run) -> None:
    for verb in ("train", "evaluate", "cost", "benchmark", "data"):
        assert run("gfnet-dynn", verb, "--help").status == 0


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(force_terminal=True, width=120)  # made to think that it is a terminal
    told = partial(ProgressBars(console), "Reading")
    told(1, 2)
    told(2, 2)
    progress = TrainingProgress(console)
    progress.stage_started("joint", 2, 32, 0)
    progress.step_taken("joint", 0, 0, 16, {"loss/network": 1.25})
    progress.epoch_ended("joint", 0, {"loss/network": 1.25, "accuracy/exit1": 0.5, "images_per_s": 80.0})
    progress.stage_ended("joint")
    progress.said("done")
    progress.close(completed=True)
    printed = capsys.readouterr().out
    for words in ("Joint stage", "epoch   1/2", "network 1.250", "exit1 50.0", "80 img/s", "left", "done"):
        assert words in printed


def test_progress_counts_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainingProgress(Console(width=120))
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
    progress = TrainingProgress(Console(file=Faulty(errno.EIO), force_terminal=True))
    progress.stage_started("joint", 2, 32, 0)
    progress.step_taken("joint", 0, 0, 16, {"loss/network": 1.25})
    progress.epoch_ended("joint", 0, {"loss/network": 1.25})
    progress.said("done")
    progress.stage_ended("joint")
    progress.close(completed=False)


def test_another_fault_of_the_output_is_not_passed_over() -> None:
    with pytest.raises(OSError, match="cannot write"):
        TrainingProgress(Console(file=Faulty(errno.ENOSPC))).said("done")
