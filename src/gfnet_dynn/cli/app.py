"""The `gfnet-dynn` command: runs a verb and turns errors into a message and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from gfnet_dynn.cli.streams import CLOSED_PIPE, discard_output, output_failure, prepare_streams, silence_libraries
from gfnet_dynn.cli.verbs import Program
from gfnet_dynn.display import printable
from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.train.engine.interruption import TrainingInterrupted

_NAME = "gfnet-dynn"


def run(command: Callable[[], object]) -> None:
    """Run a command line and end with its exit status.

    An error that the user can mend, and output that cannot be written, end with a message and status 2, Ctrl-C with
    130, a closed pipe silently with 141.
    """
    wait_politely()
    prepare_streams()
    silence_libraries()
    try:
        try:
            command()
        finally:
            sys.stdout.flush()  # a full disk is noticed here at the latest
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        _end_with_error(error.format_message(), f"see: {context.command_path} --help\n" if context else "")
    except GFNetDynnError as error:
        _end_with_error(str(error))
    except (KeyboardInterrupt, SystemExit, click.Abort, OSError) as stop:
        _end(stop)


def _end(stop: BaseException) -> NoReturn:
    """The exit status of an interruption, or of output that cannot be written; anything else is raised again."""
    if interruption := _interruption(stop):
        if not isinstance(interruption, TrainingInterrupted):
            _print_error("interrupted\n")
        sys.exit(130)
    if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):  # as click leaves it where a pipe is closed
        sys.exit(CLOSED_PIPE)
    if (failure := output_failure(stop)) is None:
        raise stop
    discard_output()
    if failure.errno == errno.EPIPE:
        sys.exit(CLOSED_PIPE)
    _end_with_error(f"cannot write the output: {failure.strerror}; free space, or send it elsewhere")


def _end_with_error(message: str, hint: str = "") -> NoReturn:
    shown = printable(message, keep="\n")
    _print_error(f"error: {shown}\n{hint}")
    sys.exit(2)


def _print_error(text: str) -> None:
    with suppress(OSError):  # nobody reads it
        sys.stderr.write(text)
        sys.stderr.flush()


def _interruption(stop: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that led to `stop`, if one did."""
    while stop is not None and not isinstance(stop, KeyboardInterrupt):
        stop = stop.__cause__ or stop.__context__
    return stop


def wait_politely() -> None:
    """Let OpenMP threads release the processor soon while they wait; to be set before torch is imported.

    Measured on two cores, gfnet-96x8, batch 64: beside a busy process, training runs at 154 images/s with it and at 43
    without; on an idle machine at 385 and 386.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main() -> None:
    """Entry point of the installed command."""
    run(lambda: Program().main(prog_name=_NAME, standalone_mode=False))
