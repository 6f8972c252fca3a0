"""`gfnet-dynn bundle info`, `remove-policy`, `set-default` and `stac`."""

from __future__ import annotations

import sys
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


@dataclass(frozen=True)
class StacOptions(OneBundle):
    """Options."""

    output: Path | None = option(None, "Write to this file, such as scene.json, instead of printing.", short="-o")


@command(app, "stac")
def stac(options: StacOptions) -> None:
    """Describe a bundle as a STAC item of the machine learning model extension."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.system.storage import json_line, write_json
    from gfnet_dynn.workflows import bundles

    if options.output is None:
        sys.stdout.write(json_line(bundles.stac(options.bundle)) + "\n")
        return
    item = bundles.stac(options.bundle, options.output.parent)
    Terminal().print_next([], [write_json(options.output, item)])


def _report(bundle: Path) -> None:
    from gfnet_dynn.bundle.archive import read_bundle
    from gfnet_dynn.cli.terminal import Terminal

    console, default = Terminal(), read_bundle(bundle).manifest.policies[0].name
    console.print_line(f"bundle: {bundle} (default policy: {default})")
    console.print_next([f"bundle info {bundle}"])
