"""Writes the pages of the reference that come from the code: command line, recipes, built-in models."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import click

from gfnet_dynn.cli.app import Program
from gfnet_dynn.train.recipes import known_recipes
from gfnet_dynn.workflows import models
from gfnet_dynn.workflows.bundles import BundleInfo

REFERENCE = Path(__file__).parent / "reference"


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all that are below it, each with its context."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, click.Context(below, info_name=name, parent=context, max_content_width=80))


def command_line() -> str:
    """Help of every command, rare options included."""
    program = Program()
    parts = ["# Command line\n\nOptions are understood with hyphens and with underscores.\n"]
    for command, context in commands(program, click.Context(program, info_name="gfnet-dynn", max_content_width=80)):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                parameter.hidden = parameter.name == "help_all"
        parts.append(f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def recipes() -> str:
    """Every recipe with its description and content."""
    parts = [
        "# Recipes\n\nA recipe is a named set of training options: `gfnet-dynn train FOLDER --recipe NAME`. Options on "
        "the command line win over it. Your own is a TOML file, given by its path; `base` names another recipe.\n"
    ]
    for name, description in known_recipes().items():
        content = (files("gfnet_dynn") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        parts.append(f"## `{name}`\n\n{description}\n\n```toml\n{content}```\n")
    return "\n".join(parts)


def cards() -> str:
    """Every built-in model with its card."""
    found = models()
    parts = [
        "# Built-in models\n\nThey are installed with the package; `classify`, `evaluate`, `benchmark`, `calibrate`, "
        "`monitor` and `load` take them by name. `gfnet-dynn classify photo.tif` without a name takes the one that is "
        "meant for the ground sampling distance that a GeoTIFF states or `--gsd` gives, and asks where neither is "
        "known. `make models UCM=FOLDER EUROSAT=FOLDER` makes both from images; digests and figures are in "
        "[models.json](../results/models.json).\n",
        found.to_markdown(),
    ]
    parts += [f"\n## `{name}`\n\n{BundleInfo(bundle, name).to_markdown()}" for name, bundle in found.bundles.items()]
    return "\n".join(parts)


if __name__ == "__main__":
    (REFERENCE / "models.md").write_text(cards(), encoding="utf-8")
    (REFERENCE / "cli.md").write_text(command_line(), encoding="utf-8")
    (REFERENCE / "recipes.md").write_text(recipes(), encoding="utf-8")
