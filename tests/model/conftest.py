"""A small network that all model tests share."""

from __future__ import annotations

import pytest
import torch

from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec

SMALL = NetSpec(GFNetSpec(width=12, depth=5, patch_size=4), (0, 2), InputSpec(16), ("a", "b", "c"))


@pytest.fixture
def small_net() -> EarlyExitNet:
    torch.manual_seed(0)
    net = build_net(SMALL).eval()
    with torch.no_grad():  # fresh weights all but agree; these exits differ
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return net


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(9, 3, 16, 16, generator=torch.Generator().manual_seed(1))
