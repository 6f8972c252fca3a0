"""`gfnet-dynn cost`."""

from __future__ import annotations

from gfnet_dynn.workflows.costing import CostRequest


def cost(request: CostRequest) -> None:
    """Count weights, and multiply-accumulates up to each exit with their share of the full network's."""
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.costing import cost as run

    Terminal().show(run(request))
