"""Which weights decay, how the rate moves, and that an optimiser's state comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from msgspec import structs

from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec, HybridSpec
from gfnet_dynn.train.engine.optimisation import (
    learning_rate_factor,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)
from tests.train.conftest import QUICK, TINY


def test_position_biases_and_norms_do_not_decay() -> None:
    net = build_net(TINY)
    names = {parameter: name for name, parameter in net.named_parameters()}
    decaying, others = make_optimizer([net], QUICK).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    undecayed = {names[parameter] for parameter in others["params"]}
    assert "backbone.pos_embed" in undecayed
    assert {name for name in undecayed if not name.endswith((".bias", "pos_embed"))} == {
        name for name in names.values() if "norm" in name and name.endswith("weight")
    }
    assert "backbone.blocks.0.filter.complex_weight" in {names[parameter] for parameter in decaying["params"]}


def test_frozen_weights_are_left_out() -> None:
    net = build_net(TINY)
    net.backbone.requires_grad_(False)
    held = {id(p) for group in make_optimizer([net], QUICK).param_groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("backbone", [HybridSpec(cut=1, width=16, depth_after=2), EfficientNetLiteSpec()])
def test_a_trunk_may_have_a_rate_of_its_own(kind: Literal["adamw", "sgd"], backbone: BackboneSpec) -> None:
    net = build_net(structs.replace(TINY, backbone=backbone))
    names = {parameter: name for name, parameter in net.named_parameters()}
    settings = replace(QUICK, optimizer=kind, trunk_lr=QUICK.lr / 4)
    groups = make_optimizer([net], settings, net.backbone.pretrained_modules()).param_groups
    rates = {names[parameter]: group["lr"] for group in groups for parameter in group["params"]}
    decays = {names[parameter]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert rates == {
        name: QUICK.lr / 4 if name.startswith(("backbone.trunk.", "backbone.last.")) else QUICK.lr
        for name in names.values()
    }
    plain = make_optimizer([net], replace(settings, trunk_lr=None), net.backbone.pretrained_modules()).param_groups
    assert {names[p]: group["weight_decay"] for group in plain for p in group["params"]} == decays
    assert {group["lr"] for group in plain} == {QUICK.lr}


def test_the_rate_rises_then_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 5)
    assert max(factors) == factors[5] == 1
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[-1] < 0.001
    assert learning_rate_factor(0, 1) == 1


def test_the_rate_is_a_share_of_each_groups_own_peak() -> None:
    net = build_net(TINY)
    optimizer = make_optimizer([net], QUICK)
    for factor in (0.5, 0.25):
        set_learning_rate(optimizer, factor)
        assert {group["lr"] for group in optimizer.param_groups} == {QUICK.lr * factor}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_restored_optimizer_goes_on_as_if_never_stopped(kind: Literal["adamw", "sgd"]) -> None:
    def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        for index, parameter in enumerate(net.parameters()):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * seed + index))
        optimizer.step()

    settings = replace(QUICK, optimizer=kind)
    unbroken = build_net(TINY)
    optimizer = make_optimizer([unbroken], settings)
    step(unbroken, optimizer, 1)
    resumed = build_net(TINY)
    resumed.load_state_dict(unbroken.state_dict())
    again = make_optimizer([resumed], settings)
    restore_optimizer(again, {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()})
    step(unbroken, optimizer, 2)
    step(resumed, again, 2)
    for mine, theirs in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(mine, theirs)
