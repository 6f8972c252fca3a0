"""`gfnet-dynn calibrate`."""

from __future__ import annotations

from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.cli.render.terminal import Terminal

REQUEST = CalibrationRequest


def calibrate(request: CalibrationRequest) -> None:
    """Find the cheapest exit policy that keeps a risk, a budget or both, and store it in the bundle with its guarantee.

    The policy becomes the bundle's default, unless the present one is better. No torch, no network connection.
    """
    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_next, print_tables
    from gfnet_dynn.workflows.calibration import calibrate as run

    console = Terminal(highlight=False)
    result = run(request, on_progress=ProgressBars(console))
    print_tables(result, console)
    bundle, policy = request.output or request.bundle, f"--policy {request.name}"
    steps = [f"bundle set-default {bundle} {request.name}"] if result.not_default else []
    print_next(console, *steps, f"classify {bundle} IMAGES {policy}", f"monitor {bundle} NEW_IMAGES {policy}")
