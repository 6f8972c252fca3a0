"""The verbs of `gfnet-dynn`, each loaded when it is asked for: a device's first answer does not wait for the others."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from gfnet_dynn.cli.command import command
from gfnet_dynn.cli.options import SPELLINGS

VERBS = (
    "data",
    "train",
    "evaluate",
    "report",
    "export",
    "classify",
    "calibrate",
    "monitor",
    "bundle",
    "cost",
    "benchmark",
)
"""In the order of `--help`. Each is a function, or a group of its own, in the module of its name."""


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The command line for some arguments: with the verb that they begin with, or with all where they name none."""
    app = typer.Typer(
        name="gfnet-dynn",
        help="Early-exit Global Filter Networks for remote-sensing scene classification.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_whole_program)
    for verb in arguments[:1] if set(arguments[:1]) & set(VERBS) else VERBS:
        module = import_module(f"gfnet_dynn.cli.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        elif hasattr(module, "REQUEST"):
            command(app, verb, module.REQUEST, preset=getattr(module, "PRESET", None))(getattr(module, verb))
        else:
            app.command(context_settings=SPELLINGS)(getattr(module, verb))
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        from gfnet_dynn import __version__  # noqa: PLC0415 # slow to look up

        typer.echo(f"gfnet-dynn {__version__}")
        raise typer.Exit


def _whole_program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Early-exit Global Filter Networks for remote-sensing scene classification."""
