"""Output that is full, closed or read by nobody: no traceback, and never the status 1, which means drift."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from gfnet_dynn.cli.app import run
from gfnet_dynn.cli.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")

COMMANDS = [("data", "list"), ("--help",), ("cost", "--help")]


def started(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gfnet_dynn", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_an_error(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = started(*arguments, stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_that_nobody_reads_ends_in_silence(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = started(*arguments, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    code = (
        f"from gfnet_dynn.cli.app import run\nrun(lambda: (print('lost'), open({str(target)!r}, 'w').write('kept'))[1])"
    )
    done = subprocess.run(f'{sys.executable} -W ignore -c "{code}" >&- <&-', shell=True, check=False)
    assert done.returncode == 0
    assert target.read_text(encoding="utf-8") == "kept"


def test_an_error_that_cannot_be_printed_keeps_its_status() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "gfnet_dynn", "data", "check", "nothing"]
        assert subprocess.run(command, stderr=full, check=False).returncode == 2


def raise_broken_pipe() -> None:
    raise BrokenPipeError(32, "Broken pipe")


def test_a_closed_pipe_is_never_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.cli.app.discard_output", lambda: None)
    with pytest.raises(SystemExit) as stop:
        run(raise_broken_pipe)
    assert stop.value.code == 141


def test_errors_of_other_files_are_not_hidden() -> None:
    def fail() -> None:
        Path("/no/such/file").read_bytes()

    with pytest.raises(FileNotFoundError):
        run(fail)


def test_a_terminal_shows_control_characters_in_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name")
    table.add_row("x\x1b[2J")
    console = Terminal(width=40)
    console.print(table)
    console.print("one\ntwo\x1b]0;t\u202e", markup=False)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "x\\x1b[2J" in printed
    assert "one\ntwo\\x1b]0;t\\u202e" in printed
