"""The program itself: its version, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from gfnet_dynn import __version__
from gfnet_dynn.cli.app import run as run_command
from gfnet_dynn.train.engine.interruption import TrainingInterrupted
from tests.cli.conftest import Run


def test_the_version(run: Run) -> None:
    outcome = run("gfnet-dynn", "--version")
    assert (outcome.status, outcome.out) == (0, f"gfnet-dynn {__version__}")


def test_the_package_is_the_program_too() -> None:
    done = subprocess.run([sys.executable, "-m", "gfnet_dynn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"gfnet-dynn {__version__}\n"


@pytest.mark.parametrize(("interruption", "said"), [(KeyboardInterrupt, "interrupted\n"), (TrainingInterrupted, "")])
@pytest.mark.parametrize("by_typer", [True, False])
def test_ctrl_c_is_told_unless_training_told_it(
    interruption: type[KeyboardInterrupt], said: str, by_typer: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> None:
        raise interruption

    app = typer.Typer()
    app.command()(verb)
    with pytest.raises(SystemExit) as stop:
        run_command((lambda: app([])) if by_typer else verb)
    assert stop.value.code == 130
    assert capsys.readouterr().err == said


def test_an_ordinary_exit_keeps_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> None:
        raise typer.Exit(1)

    app = typer.Typer()
    app.command()(verb)
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: app([]))
    assert stop.value.code == 1
    assert capsys.readouterr().err == ""
