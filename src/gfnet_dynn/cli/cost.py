"""`gfnet-dynn cost`: weights and multiply-accumulates of each exit, counted from shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from gfnet_dynn.cli.options import parse_exits
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.spec.backbone import BACKBONES, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.workflows.extras import require_torch


def cost(
    model: Annotated[str | None, typer.Argument(help="A named model. (default: all of them)")] = None,
    input_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 256,
    num_classes: Annotated[int, typer.Option(help="Classes.", min=2)] = 45,
    exits: Annotated[str | None, typer.Option(help="Blocks after which exits stand, such as 3,5,7,9.")] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Pad the input to whole patches.")] = False,
) -> None:
    """Count what each exit costs: multiply-accumulates up to it, and its share of the full network."""
    require_torch("counting costs")
    classes = tuple(str(index) for index in range(num_classes))
    specs: dict[str, NetSpec] = {}
    for name in [model] if model else BACKBONES:
        backbone = find_backbone(name)
        blocks = parse_exits(exits, backbone)
        specs[name] = NetSpec(
            backbone, blocks, make_input(backbone, input_size, pad=pad), classes, backbone.exit_pooling
        )
    title = _title(input_size, {spec.input.size for spec in specs.values()}, num_classes)
    table = Table(title=title, box=box.HORIZONTALS, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("px", "weights M", "exit after", "MMACs", "% of full", "GFLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, spec in specs.items():
        for row in _rows(name, spec):
            table.add_row(*row)
        table.add_section()
    Terminal().print(table)


def _title(asked: int, sizes: set[int], num_classes: int) -> str:
    padded = "" if sizes == {asked} else f" padded to {' or '.join(map(str, sorted(sizes)))} px"
    return f"One image of {asked} px{padded}, {num_classes} classes; counted, not measured"


def _rows(name: str, spec: NetSpec) -> Iterator[tuple[str, ...]]:
    """One for each exit; what the whole network has in common stands in the first."""
    import torch  # noqa: PLC0415 # slow to import

    from gfnet_dynn.model.build import build_net  # noqa: PLC0415 # imports torch

    with torch.device("meta"):  # shapes alone; no memory for weights
        net = build_net(spec)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    common = (name, str(spec.input.size), f"{parameters / 1e6:.2f}")
    places = (*(f"block {block}" for block in spec.exit_blocks), "the last")
    for place, macs, share in zip(places, net.exit_macs(), net.exit_costs(), strict=True):
        yield (*common, place, f"{macs / 1e6:.0f}", f"{100 * share:.0f}", f"{2 * macs / 1e9:.2f}")
        common = ("", "", "")
