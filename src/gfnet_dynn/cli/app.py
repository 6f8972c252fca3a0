"""The `gfnet-dynn` command: runs a verb and turns errors into a message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from gfnet_dynn.cli.verbs import build_app
from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.train.engine.interruption import TrainingInterrupted


def run(command: Callable[[], None]) -> None:
    """Run a command line; an error that the user can mend ends it with a message and status 2, Ctrl-C with 130."""
    wait_politely()
    _print_whatever_it_is()
    try:
        command()
    except GFNetDynnError as error:
        _tell("error:", str(error))
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as stop:
        interruption = _interruption(stop)
        if interruption is None:
            raise
        if not isinstance(interruption, TrainingInterrupted):
            _tell("interrupted")
        sys.exit(130)


def _print_whatever_it_is() -> None:
    """File names need not be text, nor need the output take every character: what it doesn't take is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _tell(heading: str, message: str = "") -> None:
    from rich.console import Console  # noqa: PLC0415 # a device's first answer does not wait for it
    from rich.markup import escape  # noqa: PLC0415

    text = f"[bold red]{heading}[/] {escape(message)}" if message else heading
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def _interruption(stop: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that led to `stop`, if one did: typer makes a mute exit of it."""
    while stop is not None and not isinstance(stop, KeyboardInterrupt):
        stop = stop.__cause__ or stop.__context__
    return stop


def wait_politely() -> None:
    """Let OpenMP threads give up the processor soon while they wait; to be set before torch is imported.

    Measured on two cores, gfnet-96x8, batch 64: beside a busy process, training runs at 154 images/s with it and at 43
    without; on an idle machine at 385 and 386.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main() -> None:
    """Entry point of the installed command."""
    run(build_app(sys.argv[1:]))
