"""`gfnet-dynn cost`."""

from __future__ import annotations

from gfnet_dynn.workflows.costing import CostRequest

REQUEST = CostRequest


def cost(request: CostRequest) -> None:
    """Count weights, and multiply-accumulates up to each exit with their share of the full network's."""
    from gfnet_dynn.cli.render.tables import print_tables  # noqa: PLC0415
    from gfnet_dynn.cli.render.terminal import Terminal  # noqa: PLC0415 # slow to import
    from gfnet_dynn.workflows.costing import cost as run  # noqa: PLC0415

    print_tables(run(request), Terminal())
