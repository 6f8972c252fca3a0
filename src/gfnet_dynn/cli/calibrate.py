"""`gfnet-dynn calibrate`."""

from __future__ import annotations

from gfnet_dynn.calibration.request import CalibrationRequest


def calibrate(request: CalibrationRequest) -> None:
    """Find the cheapest exit policy that keeps a risk, a budget or both, and store it in the bundle with its guarantee.

    The policy becomes the bundle's default, unless the present one is better. No torch, no network connection.
    """
    from gfnet_dynn.cli.progress import ProgressBars
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.calibration import calibrate as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console))
    bundle, policy = request.output or request.bundle, f"--policy {request.name}"
    steps = [f"bundle set-default {bundle} {request.name}"] if result.not_default else []
    steps += [f"classify {bundle} IMAGES {policy}", f"monitor {bundle} NEW_IMAGES {policy}"]
    console.show(result, following=steps)
