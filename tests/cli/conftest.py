"""Runs command lines in this process, as a user would type them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gfnet_dynn.cli import app, main_dynn
from gfnet_dynn.errors import MissingExtraError


@dataclass(frozen=True)
class Outcome:
    """How a command ended; line breaks of the printed text are made spaces, so that messages can be matched."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("main_dynn.py", …)` or `run("gfnet-dynn", …)`, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run_line(program: str, *arguments: str | Path) -> Outcome:
        status = call(program, *arguments)
        printed = capsys.readouterr()
        return Outcome(status, " ".join(printed.out.split()), " ".join(printed.err.split()))

    return run_line


def call(program: str, *arguments: str | Path) -> int:
    """Run a command line here, where fixtures of a module need it; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [program, *map(str, arguments)])
        try:
            (main_dynn.main if program == "main_dynn.py" else app.main)()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture
def figures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations draw no pictures, as where matplotlib is absent: they take most of the time of a small one."""

    def require(feature: str, extra: str) -> None:
        if extra == "plots":
            raise MissingExtraError(feature, extra)

    monkeypatch.setattr("gfnet_dynn.workflows.evaluation.require_extra", require)
