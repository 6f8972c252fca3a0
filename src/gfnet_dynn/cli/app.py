"""The `gfnet-dynn` command: runs a verb and turns errors into a message and an exit status.

A verb is loaded only when it is asked for, as the time to a device's first answer counts.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NoReturn

import click

from gfnet_dynn import __version__
from gfnet_dynn.cli.command import Group, command
from gfnet_dynn.cli.streams import discard_output, is_output_failure, prepare_streams, print_note, silence_libraries
from gfnet_dynn.errors import GFNetDynnError, ReportedElsewhereError, nearest
from gfnet_dynn.system.torchrun import torchrun_place
from gfnet_dynn.train.engine.interruption import TrainingInterrupted

_NAME = "gfnet-dynn"
_CLOSED_PIPE = 141  # what a shell gives for a process that SIGPIPE ended, as where the reader of a pipe has gone
_TIME_TO_REPORT_S = 2.0  # torchrun ends all processes where one ends with an error

PANELS: Mapping[str, tuple[str, ...]] = {
    "Train": ("data", "train", "evaluate", "report"),
    "Deploy": ("models", "classify", "archive", "map", "watch", "serve", "export", "calibrate", "monitor", "bundle"),
    "Measure": ("cost", "benchmark"),
    "Share": ("push", "pull"),
}
"""The verbs in the order of `--help`."""

_MODULES = ("data", "train", "models", "classify", "archive", "map", "watch", "serve", "bundle")
"""Verbs with a module of their name: a function of that name, or a `Group` named `app`; others are in `verbs`."""

VERBS = tuple(verb for verbs in PANELS.values() for verb in verbs)


class Program(Group):
    """The whole command line."""

    def __init__(self) -> None:
        super().__init__(_NAME, "Early-exit Global Filter Networks for remote-sensing scene classification.")
        click.version_option(__version__, message="%(prog)s %(version)s", help="Show the version.")(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        return list(VERBS)

    def panel(self, name: str) -> str:
        """The group of a verb."""
        return next(title for title, verbs in PANELS.items() if name in verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb; raises UsageError: there is none of that name."""
        if cmd_name not in VERBS:
            if cmd_name.startswith("-"):
                return None
            raise click.UsageError(f"no command '{cmd_name}': {nearest(cmd_name, VERBS)}", ctx)
        if cmd_name not in self.commands:
            module = import_module(f"gfnet_dynn.cli.{cmd_name if cmd_name in _MODULES else 'verbs'}")
            if hasattr(module, "app"):
                self.add_command(module.app, cmd_name)
            else:
                preset = getattr(module, "PRESET", None)
                command(self, cmd_name, preset=preset)(getattr(module, cmd_name))
        return self.commands[cmd_name]


def run(program: Callable[[], object]) -> None:
    """Run a command line and end with its exit status.

    An error that the user can mend, and output that cannot be written, end with a message and status 2, Ctrl-C with
    130, a closed pipe silently with 141.
    """
    wait_politely()
    prepare_streams()
    silence_libraries()
    try:
        try:
            program()
        finally:
            sys.stdout.flush()  # a full disk is noticed here at the latest
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except ReportedElsewhereError:
        time.sleep(_TIME_TO_REPORT_S)
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        _end_with_error(error.format_message(), *([f"see: {context.command_path} --help"] if context else []))
    except GFNetDynnError as error:
        _end_with_error(str(error))
    except (KeyboardInterrupt, SystemExit, click.Abort, OSError) as stop:
        _end(stop)


def _end(stop: BaseException) -> NoReturn:
    """The exit status of an interruption, or of output that cannot be written; anything else is raised again."""
    causes = [stop]  # click and rich exit silently where output fails
    while earlier := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(earlier)
    for cause in causes:
        if isinstance(cause, KeyboardInterrupt):
            if not isinstance(cause, TrainingInterrupted):
                print_note("interrupted")
            sys.exit(130)
    if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):  # as click leaves it where a pipe is closed
        sys.exit(_CLOSED_PIPE)
    failure = next(filter(is_output_failure, causes), None)
    if not isinstance(failure, OSError):
        raise stop
    discard_output()
    if failure.errno == errno.EPIPE:
        sys.exit(_CLOSED_PIPE)
    _end_with_error(f"cannot write the output: {failure.strerror}; free space, or send it elsewhere")


def _end_with_error(message: str, *hints: str) -> NoReturn:
    place = torchrun_place()
    who = f"process {place.rank}: " if place and place.rank else ""  # the first one's are as always
    print_note(*f"{who}error: {message}".split("\n"), *hints)
    sys.exit(2)


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
