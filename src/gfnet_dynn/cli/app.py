"""The `gfnet-dynn` command: collects the verbs and turns errors into a message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer
from rich.console import Console
from rich.markup import escape

from gfnet_dynn.cli import data
from gfnet_dynn.cli.benchmark import benchmark
from gfnet_dynn.cli.cost import cost
from gfnet_dynn.cli.evaluate import evaluate
from gfnet_dynn.cli.options import SPELLINGS
from gfnet_dynn.cli.train import train
from gfnet_dynn.errors import GFNetDynnError

app = typer.Typer(
    name="gfnet-dynn",
    help="Early-exit Global Filter Networks for remote-sensing scene classification.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.command(context_settings=SPELLINGS)(train)
app.command(context_settings=SPELLINGS)(evaluate)
app.command(context_settings=SPELLINGS)(cost)
app.command(context_settings=SPELLINGS)(benchmark)


def run(command: Callable[[], None]) -> None:
    """Run a command line; an error that the user can mend ends it with a message and status 2, Ctrl-C with 130."""
    _wait_politely()
    try:
        command()
    except GFNetDynnError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _wait_politely() -> None:
    """Let OpenMP threads give up the processor soon while they wait; to be set before torch is imported.

    Measured on two cores, gfnet-96x8, batch 64: beside a busy process, training runs at 154 images/s with it and at 43
    without; on an idle machine at 385 and 386.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def main() -> None:
    """Entry point of the installed command."""
    run(app)
