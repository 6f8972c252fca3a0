"""The analytic count against a count by hooks, from the shapes that really pass through each layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.gfnet import GlobalFilter
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.spec.network import NetSpec, make_input


class CountingHooks:
    """Adds up multiply-accumulates layer by layer, in the order in which the layers run."""

    def __init__(self, net: EarlyExitNet) -> None:
        self.events: list[tuple[str, int]] = []
        names = [name for name, _ in net.named_modules()]
        self.trunk_blocks = len({name.split(".")[3] for name in names if name.startswith("backbone.trunk.blocks.")})
        for name, module in net.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, GlobalFilter)):
                module.register_forward_hook(lambda m, i, o, name=name: self._note(name, m, i[0], o))

    def _note(self, name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            macs = output.numel() * given.shape[-1]
        elif isinstance(module, nn.Conv2d):
            macs = output.numel() * module.weight[0].numel()
        else:
            assert isinstance(module, GlobalFilter)
            _, length, channels = given.shape
            height = width = math.isqrt(length)
            macs = round(channels * (5 * length * math.log2(length) + 6 * height * (width // 2 + 1)) / 2)
        self.events.append((name, macs))

    def up_to_each_exit(self, blocks: tuple[int, ...], depth: int) -> tuple[int, ...]:
        """Sum up to each way out: trunk up to its block, and heads and gates up to its own."""
        exits = []
        for number, last_block in enumerate((*blocks, depth - 1)):
            final = number == len(blocks)
            exits.append(sum(macs for name, macs in self.events if self._belongs(name, number, last_block, final)))
        return tuple(exits)

    def _belongs(self, name: str, number: int, last_block: int, final: bool) -> bool:
        part, *rest = name.removeprefix("backbone.").split(".")
        if part == "trunk":
            return rest[0] == "stem" or int(rest[1]) <= last_block
        if part == "blocks":
            return int(rest[0]) + self.trunk_blocks <= last_block
        if part in ("intermediate_heads", "gates"):
            return int(rest[0]) <= number
        # `last` and `head` close the network; `proj` leads from a trunk to its first global-filter block.
        once = {"patch_embed": True, "proj": last_block >= self.trunk_blocks, "last": final, "head": final}
        return once[part]


@pytest.mark.parametrize("size", [128, 224])
@pytest.mark.parametrize("name", BACKBONES)
def test_counts_equal_those_by_hooks(name: str, size: int) -> None:
    backbone = BACKBONES[name]
    spec = NetSpec(backbone, backbone.default_exits, make_input(backbone, size, pad=False), ("a", "b", "c"))
    net = build_net(spec).train()  # at inference the norms are folded into convolutions that no hook sees
    hooks = CountingHooks(net)
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    assert net.exit_macs() == hooks.up_to_each_exit(spec.exit_blocks, backbone.depth)


def test_the_published_totals() -> None:
    for name, giga in (("gfnet-192x12", 0.95), ("gfnet-xs", 3.70)):
        backbone = BACKBONES[name]
        classes = tuple(str(index) for index in range(45))
        net = build_net(NetSpec(backbone, (3, 5, 7, 9), make_input(backbone, 256, pad=False), classes))
        assert net.exit_macs()[-1] / 1e9 == pytest.approx(giga, rel=0.01)


def test_shares_rise_to_one() -> None:
    backbone = BACKBONES["gfnet-192x12"]
    shares = build_net(NetSpec(backbone, (3, 5, 7, 9), make_input(backbone, 128, pad=False), ("a", "b"))).exit_costs()
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1
