"""`gfnet-dynn models`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelsRequest:
    """Options."""


REQUEST = ModelsRequest


def models(request: ModelsRequest) -> None:
    """List the built-in models, which `classify` and others take by name."""
    from gfnet_dynn.cli.render.tables import print_next, print_tables
    from gfnet_dynn.cli.render.terminal import Terminal
    from gfnet_dynn.workflows.builtin_models import models as run

    console, result = Terminal(), run()
    print_tables(result, console)
    print_next(console, *(f"bundle info {name}" for name in result.bundles))
