"""`gfnet-dynn cost`: weights and multiply-accumulates of each exit, counted from shapes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gfnet_dynn.backbone_spec import BACKBONES, find_backbone
from gfnet_dynn.cli.extras import require_torch
from gfnet_dynn.cli.options import parse_exits
from gfnet_dynn.spec import NetSpec, make_input


def cost(
    model: Annotated[str | None, typer.Argument(help="A named model. (default: all of them)")] = None,
    input_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 256,
    num_classes: Annotated[int, typer.Option(help="Classes.", min=2)] = 45,
    exits: Annotated[str | None, typer.Option(help="Blocks after which exits stand, such as 3,5,7,9.")] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Pad the input to whole patches.")] = False,
) -> None:
    """Count what each exit costs: multiply-accumulates up to it, and its share of the full network."""
    require_torch("counting costs")
    table = Table(title=f"One image of {input_size} px, {num_classes} classes; counted, not measured")
    for heading in ("model", "weights M", "exits after", "MMACs up to each exit, % of full", "GFLOPs"):
        table.add_column(heading)
    for name in [model] if model else BACKBONES:
        backbone = find_backbone(name)
        blocks = parse_exits(exits) or backbone.default_exits
        classes = tuple(str(index) for index in range(num_classes))
        table.add_row(
            name,
            *_cells(NetSpec(backbone, blocks, make_input(backbone, input_size, pad=pad), classes)),
            end_section=True,
        )
    Console().print(table)


def _cells(spec: NetSpec) -> tuple[str, ...]:
    import torch  # noqa: PLC0415 # slow to import

    from gfnet_dynn.model.build import build_net  # noqa: PLC0415 # imports torch

    with torch.device("meta"):  # shapes alone; no memory for weights
        net = build_net(spec)
    macs, shares = net.exit_macs(), net.exit_costs()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return (
        f"{parameters / 1e6:.2f}",
        ", ".join(map(str, spec.exit_blocks)),
        "".join(f"{count / 1e6:6.0f}" for count in macs) + "\n" + "".join(f"{100 * share:6.0f}" for share in shares),
        f"{2 * macs[-1] / 1e9:.2f}",
    )
