"""The network against arrays computed with the published classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gfnet_dynn.exits import NEVER
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import load_published, published_state
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec

TOLERANCE = 1e-5


@pytest.fixture
def golden(shared: Callable[[str], Path]) -> dict[str, torch.Tensor]:
    with np.load(shared("golden/gfnet_dynn_small.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture
def net(golden: dict[str, torch.Tensor]) -> EarlyExitNet:
    value = {
        name: int(golden[f"config/{name}"]) for name in ("img_size", "patch_size", "embed_dim", "depth", "mlp_ratio")
    }
    backbone = GFNetSpec(value["embed_dim"], value["depth"], value["patch_size"], value["mlp_ratio"])
    classes = tuple(f"class {index}" for index in range(int(golden["config/num_classes"])))
    spec = NetSpec(backbone, tuple(golden["exit_blocks"].tolist()), InputSpec(value["img_size"]), classes)
    built = build_net(spec)
    state = {name.removeprefix("state/"): each for name, each in golden.items() if name.startswith("state/")}
    assert set(published_state(built)) == set(state)
    load_published(built, state, "golden")
    return built.eval()


def test_all_outputs_equal_the_published_ones(net: EarlyExitNet, golden: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        outputs = net(golden["input"])
    torch.testing.assert_close(outputs.logits[:, -1], golden["final_logits"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(outputs.logits[:, :-1].transpose(0, 1), golden["exit_logits"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(outputs.gate_logits, golden["gate_logits"], rtol=0, atol=TOLERANCE)


def test_the_dynamic_pass_gives_the_published_outputs_at_every_exit(
    net: EarlyExitNet, golden: dict[str, torch.Tensor]
) -> None:
    everywhere = torch.cat((golden["exit_logits"], golden["final_logits"][None]))
    for index, wanted in enumerate(everywhere):
        thresholds = tuple(0.0 if gate == index else NEVER for gate in range(4))
        decision = net.decide(golden["input"], thresholds)
        assert decision.exits.tolist() == [index] * 5
        torch.testing.assert_close(decision.logits, wanted, rtol=0, atol=TOLERANCE)
