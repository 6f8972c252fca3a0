"""The verbs of `gfnet-dynn`, each loaded only when it is asked for, as the time to a device's first answer counts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from gfnet_dynn import __version__
from gfnet_dynn.cli.command import Group, command
from gfnet_dynn.errors import nearest

PANELS: Mapping[str, tuple[str, ...]] = {
    "Train": ("data", "train", "evaluate", "report"),
    "Deploy": ("models", "classify", "export", "calibrate", "monitor", "bundle"),
    "Measure": ("cost", "benchmark"),
}
"""The verbs in the order of `--help`. Each is a function, or a `Group` named `app`, in the module of its name."""

VERBS = tuple(verb for verbs in PANELS.values() for verb in verbs)


class Program(Group):
    """The whole command line."""

    def __init__(self) -> None:
        super().__init__("gfnet-dynn", "Early-exit Global Filter Networks for remote-sensing scene classification.")
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Show the version.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        return list(VERBS)

    def panel(self, name: str) -> str:
        """The group of a verb."""
        return next(title for title, verbs in PANELS.items() if name in verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb.

        Raises:
            UsageError: there is none of that name.
        """
        if cmd_name not in VERBS:
            if cmd_name.startswith("-"):
                return None
            raise click.UsageError(f"no command '{cmd_name}': {nearest(cmd_name, VERBS)}", ctx)
        if cmd_name not in self.commands:
            module = import_module(f"gfnet_dynn.cli.{cmd_name}")
            if hasattr(module, "app"):
                self.add_command(module.app, cmd_name)
            else:
                preset = getattr(module, "PRESET", None)
                command(self, cmd_name, module.REQUEST, preset=preset)(getattr(module, cmd_name))
        return self.commands[cmd_name]


def _version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"gfnet-dynn {__version__}")
        context.exit()
