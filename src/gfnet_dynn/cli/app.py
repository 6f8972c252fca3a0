"""The `gfnet-dynn` command: collects the verbs and turns errors into a message and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

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
    try:
        command()
    except GFNetDynnError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _escape(message: str) -> str:
    return message.replace("[", "\\[")


def main() -> None:
    """Entry point of the installed command."""
    run(app)
