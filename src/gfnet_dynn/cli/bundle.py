"""`gfnet-dynn bundle info`, `remove-policy` and `set-default`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bundle.builtin import bundle_argument
from gfnet_dynn.cli.command import Group, command
from gfnet_dynn.options import option

app = Group("bundle", "Describe a bundle, and change its exit policies.")


@dataclass(frozen=True)
class OneBundle:
    """Options."""

    bundle: Path = bundle_argument()


@dataclass(frozen=True)
class OnePolicy(OneBundle):
    """Options."""

    name: str = option(..., "Name of an exit policy of the bundle.", argument=True)


@command(app, "info")
def info(request: OneBundle) -> None:
    """Show classes, input, exits, precisions, exit policies and origin of a bundle."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows import bundles

    steps = [f"classify {request.bundle} IMAGES", f"calibrate {request.bundle} LABELLED_IMAGES --risk error"]
    Terminal().show(bundles.info(request.bundle), following=steps)


@command(app, "remove-policy")
def remove_policy(request: OnePolicy) -> None:
    """Remove an exit policy from a bundle."""
    from gfnet_dynn.workflows import bundles

    _report(bundles.remove_policy(request.bundle, request.name))


@command(app, "set-default")
def set_default(request: OnePolicy) -> None:
    """Make an exit policy the default of its bundle."""
    from gfnet_dynn.workflows import bundles

    _report(bundles.set_default(request.bundle, request.name))


def _report(bundle: Path) -> None:
    from gfnet_dynn.bundle.archive import read_bundle
    from gfnet_dynn.cli.terminal import Terminal

    console, default = Terminal(), read_bundle(bundle).manifest.policies[0].name
    console.print_line(f"bundle: {bundle} (default policy: {default})")
    console.print_next([f"bundle info {bundle}"])
