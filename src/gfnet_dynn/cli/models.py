"""`gfnet-dynn models`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelsRequest:
    """Options."""


def models(request: ModelsRequest) -> None:
    """List the built-in models, which `classify` and others take by name."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.builtin_models import models as run

    result = run()
    Terminal().show(result, following=[f"bundle info {name}" for name in result.bundles])
