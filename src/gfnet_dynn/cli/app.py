"""The `gfnet-dynn` command: runs a verb and turns errors into a message and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from gfnet_dynn.cli.streams import CLOSED_PIPE, discard_output, output_failure, prepare_streams, silence_libraries
from gfnet_dynn.cli.verbs import build_app
from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.train.engine.interruption import TrainingInterrupted


def run(command: Callable[[], None]) -> None:
    """Run a command line and end with its exit status.

    An error that the user can mend, and output that cannot be written, end with a message and 2, Ctrl-C with 130, a
    closed pipe in silence with 141.
    """
    wait_politely()
    prepare_streams()
    silence_libraries()
    try:
        try:
            command()
        finally:
            sys.stdout.flush()  # a full disk is noticed here at the latest
    except GFNetDynnError as error:
        _print_error("error:", str(error))
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit, OSError) as stop:
        interruption = _interruption(stop)
        if interruption is not None:
            if not isinstance(interruption, TrainingInterrupted):
                _print_error("interrupted")
            sys.exit(130)
        failure = output_failure(stop)
        if failure is None:
            raise
        discard_output()
        if failure.errno == errno.EPIPE:
            sys.exit(CLOSED_PIPE)
        _print_error("error:", f"cannot write the output: {failure.strerror}; free space, or send it elsewhere")
        sys.exit(2)


def _print_error(heading: str, message: str = "") -> None:
    from rich.markup import escape  # noqa: PLC0415 # a device's first answer does not wait for it

    from gfnet_dynn.cli.terminal import Terminal  # noqa: PLC0415

    text = f"[bold red]{heading}[/] {escape(message)}" if message else heading
    with suppress(OSError):  # nobody reads it
        Terminal(stderr=True, highlight=False, soft_wrap=True).print(text)


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
