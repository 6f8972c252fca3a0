"""Count what a network costs: weights, and multiply-accumulates of each exit, from shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfnet_dynn.errors import require_extra
from gfnet_dynn.options import option, require
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.spec.backbone import BACKBONES, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input, parse_exits
from gfnet_dynn.units import percent


@dataclass(frozen=True, kw_only=True)
class CostRequest:
    """Options."""

    model: str | None = option(None, "Named model. [default: all]", argument=True)
    input_size: int = option(256, "Side of the input in pixels.")
    num_classes: int = option(45, "Number of classes.")
    exits: tuple[int, ...] | None = option(
        None, "Blocks with an exit: 3,5,7,9, or none. [default: the model's]", parse=parse_exits, metavar="BLOCKS"
    )
    pad: bool = option(False, "Pad the input to whole patches.")

    def __post_init__(self) -> None:
        require(self, ("num_classes",), lambda count: count >= 2, "be at least 2")


@dataclass(frozen=True)
class NetworkCost:
    """One network: its weights, and multiply-accumulates of one image up to each exit, [G + 1]."""

    spec: NetSpec
    parameters: int
    exit_macs: tuple[int, ...]


@dataclass(frozen=True)
class CostResult(Tabular):
    """Cost of each network, by name."""

    networks: dict[str, NetworkCost]

    def tables(self) -> Sequence[Table]:
        """One row for each exit; the first has what all share."""
        headings = ("model", "px", "weights", "exit after", "M MACs", "of full", "GFLOPs")
        rows = [row for name, cost in self.networks.items() for row in _rows(name, cost)]
        classes = len(next(iter(self.networks.values())).spec.classes)
        return [Table(f"One image, {classes} classes; counted from shapes", headings, tuple(rows))]


def _rows(name: str, cost: NetworkCost) -> list[tuple[str, ...]]:
    image = cost.spec.input
    size = f"{image.size - image.pad} + {image.pad}" if image.pad else str(image.size)
    rows: list[tuple[str, ...]] = []
    first = (name, size, f"{cost.parameters / 1e6:.2f} M")
    places = (*(f"block {block}" for block in cost.spec.exit_blocks), "last block")
    for place, macs in zip(places, cost.exit_macs, strict=True):
        share = percent(macs / cost.exit_macs[-1], 0)
        rows.append((*first, place, f"{macs / 1e6:.0f}", share, f"{2 * macs / 1e9:.2f}"))
        first = ("", "", "")
    return rows


def cost(request: CostRequest) -> CostResult:
    """Count weights and multiply-accumulates.

    Raises MissingExtraError: torch is not installed; SpecError: an unknown model, or a size or exits that it cannot
    have.
    """
    require_extra("counting costs", "train")
    import torch

    from gfnet_dynn.model.early_exit import build_net

    classes, found = tuple(map(str, range(request.num_classes))), {}
    for name in [request.model] if request.model else BACKBONES:
        backbone = find_backbone(name)
        exits = backbone.default_exits if request.exits is None else request.exits
        image = make_input(backbone, request.input_size, pad=request.pad)
        spec = NetSpec(backbone, exits, image, classes, backbone.exit_pooling)
        with torch.device("meta"):  # shapes only, no memory for weights
            net = build_net(spec)
        found[name] = NetworkCost(spec, sum(each.numel() for each in net.parameters()), net.exit_macs())
    return CostResult(found)
