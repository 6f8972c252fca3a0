"""The program itself: its version, its help, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from gfnet_dynn import __version__
from gfnet_dynn.cli.app import VERBS, Program
from gfnet_dynn.cli.app import run as run_command
from gfnet_dynn.errors import DataError, OptionError, ReportedElsewhereError
from gfnet_dynn.train.engine.interruption import TrainingInterrupted
from tests.cli.conftest import Run

GROUPS = ("", "data", "bundle")
SUBCOMMANDS = ("data list", "data download", "data check", "bundle info", "bundle remove-policy", "bundle set-default")


def text_of(arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints in a terminal of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")
    Program().main(arguments.split(), prog_name="gfnet-dynn", standalone_mode=False)
    return capsys.readouterr().out


def test_the_version(run: Run) -> None:
    outcome = run("gfnet-dynn", "--version")
    assert (outcome.status, outcome.out) == (0, f"gfnet-dynn {__version__}")


def test_the_package_is_the_program_too() -> None:
    done = subprocess.run([sys.executable, "-m", "gfnet_dynn", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"gfnet-dynn {__version__}\n"


@pytest.mark.parametrize("verb", ["", *VERBS, *SUBCOMMANDS])
@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_fits_80_columns(
    verb: str, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if option == "--help-all" and verb in GROUPS:
        pytest.skip("has no options")
    lines = text_of(f"{verb} {option}", capsys, monkeypatch).splitlines()
    assert lines[0].startswith(f"Usage: gfnet-dynn {verb}".rstrip())
    assert max(map(len, lines)) <= 80
    assert not any("…" in line or "..." in line.replace("]...", "").replace("S...", "") for line in lines)


def test_the_verbs_are_listed_in_groups(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = text_of("--help", capsys, monkeypatch).splitlines()
    assert [line for line in lines if line.endswith(":")] == ["Train:", "Deploy:", "Measure:", "Share:", "Help:"]
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in VERBS] == [*VERBS]


def test_without_a_verb_the_help_is_shown_as_an_error(run: Run) -> None:
    outcome = run("gfnet-dynn")
    assert outcome.status == 2
    assert "Usage: gfnet-dynn" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("clasify",), ("'classify'", "gfnet-dynn --help")),
        (("--verbose",), ("--verbose", "gfnet-dynn --help")),
        (("cost", "a", "b"), ("b", "gfnet-dynn cost --help")),
        (("classify", "a.gfd", "b", "--polcy", "x"), ("--polcy", "--policy")),
        (("classify", "a.gfd", "b", "--batch", "many"), ("--batch", "many")),
        (("classify", "a.gfd", "b", "--batch", "0"), ("--batch", "0")),
        (("data", "fetch"), ("fetch", "gfnet-dynn data --help")),
    ],
)
def test_a_wrong_usage_ends_with_plain_lines_and_2(
    run: Run, arguments: tuple[str, ...], named: tuple[str, ...]
) -> None:
    outcome = run("gfnet-dynn", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert all(fact in outcome.err for fact in named)
    assert "╭" not in outcome.err


def test_an_error_of_this_package_is_a_message_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> None:
        raise OptionError("[red] is no colour")

    with pytest.raises(SystemExit) as stop:
        run_command(verb)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: [red] is no colour\n"


@pytest.mark.parametrize(("interruption", "told"), [(KeyboardInterrupt, True), (TrainingInterrupted, False)])
@pytest.mark.parametrize("by_click", [True, False])
def test_ctrl_c_is_reported_once_and_ends_with_130(
    interruption: type[KeyboardInterrupt], told: bool, by_click: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> None:
        raise interruption

    program = click.Command("verb", callback=verb)
    with pytest.raises(SystemExit) as stop:
        run_command((lambda: program.main([], standalone_mode=False)) if by_click else verb)
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip() == ("interrupted" if told else "")


def test_an_ordinary_exit_keeps_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    program = click.Command("verb", callback=lambda: sys.exit(1))
    with pytest.raises(SystemExit) as stop:
        run_command(lambda: program.main([], standalone_mode=False))
    assert stop.value.code == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["--version", "classify --help"])
def test_the_command_line_alone_imports_nothing_slow(verb: str) -> None:
    code = (
        "import sys\nfrom gfnet_dynn.cli.app import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "slow = {'numpy', 'rich', 'PIL', 'onnxruntime', 'pydantic', 'torch', 'importlib.metadata'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *verb.split()], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("rank", "error", "printed"),
    [
        (0, DataError("no images"), "error: no images\n"),
        (1, DataError("no images"), "process 1: error: no images\n"),
        (1, ReportedElsewhereError("no images"), ""),
    ],
)
def test_of_several_processes_the_one_that_failed_says_why(
    rank: int,
    error: Exception,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("gfnet_dynn.cli.app._TIME_TO_REPORT_S", 0.0)

    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        run_command(fail)
    assert stop.value.code == 2
    assert capsys.readouterr().err == printed
