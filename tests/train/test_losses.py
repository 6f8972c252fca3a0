"""Each loss against its definition, worked out by hand or by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gfnet_dynn.train.losses import (
    exit_distillation_loss,
    exit_losses,
    exit_probabilities,
    gate_targets,
    positive_weights,
    warmup_loss,
    weighted_exit_loss,
    with_floor,
)


def test_exit_losses_are_cross_entropies_in_place() -> None:
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 4, 2, 2])
    losses = exit_losses(logits, labels)
    for sample in range(4):
        for exit_index in range(3):
            row = logits[sample, exit_index].double().numpy()
            wanted = math.log(np.exp(row).sum()) - row[labels[sample]]
            assert losses[sample, exit_index].item() == pytest.approx(wanted, rel=1e-5)


def test_warmup_weighs_earlier_exits_more_and_leaves_frozen_ones_out() -> None:
    losses = torch.tensor([[1.0, 10.0, 100.0, 1000.0], [3.0, 30.0, 300.0, 3000.0]])
    # G = 3: weights G + 2 - l are 4, 3, 2; means of the columns are 2, 20, 200.
    assert warmup_loss(losses, [True, True, True]).item() == pytest.approx(4 * 2 + 3 * 20 + 2 * 200)
    assert warmup_loss(losses, [True, False, True]).item() == pytest.approx(4 * 2 + 2 * 200)


def test_gate_targets_are_one_from_the_best_exit_on() -> None:
    losses = torch.tensor([[0.9, 0.5, 0.1], [0.1, 0.2, 0.3], [2.0, 0.3, 0.2]])
    costs = (0.2, 0.6, 1.0)
    assert gate_targets(losses, costs, tradeoff=0.0).tolist() == [[0, 0], [1, 1], [0, 0]]
    # With λ = 1 the sums are 1.1 1.1 1.1 (first of equals), 0.3 0.8 1.3, 2.2 0.9 1.2.
    assert gate_targets(losses + torch.tensor([[-1e-4, 0, 0]]), costs, tradeoff=1.0).tolist() == [
        [1, 1],
        [1, 1],
        [0, 1],
    ]


def test_a_larger_tradeoff_never_makes_a_gate_hold_back() -> None:
    losses = torch.rand(50, 5, generator=torch.Generator().manual_seed(0))
    costs = (0.2, 0.4, 0.6, 0.8, 1.0)
    shares = [gate_targets(losses, costs, tradeoff).mean().item() for tradeoff in (0.0, 0.25, 0.75, 2.0)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_positive_weights_are_bounded() -> None:
    targets = torch.tensor([[1.0, 0, 1, 0]] * 1 + [[0.0, 0, 1, 1]] * 3 + [[0.0, 0, 1, 1]] * 4)
    # 1 of 8 positive: 7, cut to 5; none: 5; all: kept above 0; 7 of 8: 1/7.
    assert positive_weights(targets).tolist() == pytest.approx([5.0, 5.0, 1 / 8, 1 / 7])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_exit_probabilities_follow_their_definition_and_sum_to_one(gates: list[float]) -> None:
    wanted = [max(0.0, min(gate, 1 - sum(gates[:index]))) for index, gate in enumerate(gates)]
    computed = exit_probabilities(torch.tensor([gates], dtype=torch.float64))[0].tolist()
    assert computed[:-1] == pytest.approx(wanted)
    assert sum(computed) == pytest.approx(1)
    assert min(computed) >= -1e-12


Loss = Callable[[Tensor, Tensor], Tensor]


def gradient(losses: Tensor, probabilities: Tensor, loss: Loss) -> Tensor:
    leaf = losses.clone().requires_grad_()
    torch.autograd.backward(loss(leaf, probabilities))
    assert leaf.grad is not None
    return leaf.grad


def undetached(losses: Tensor, probabilities: Tensor) -> Tensor:
    """The fault of the published code, to prove that the next test notices it."""
    weighted = probabilities * losses
    return weighted.sum(dim=1).mean() * (losses.sum() / weighted.sum())


def weighting_reaches_the_gradient(loss: Loss) -> bool:
    """Whether an exit at which no sample would leave gets no gradient, and the others theirs by probability."""
    losses = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.5, 1.0]])
    probabilities = torch.tensor([[0.75, 0.25, 0.0], [0.5, 0.5, 0.0]])
    ratio = losses.sum() / (probabilities * losses).sum()
    return torch.allclose(gradient(losses, probabilities, loss), probabilities * ratio / 2)


def test_the_weighting_reaches_the_gradient() -> None:
    assert weighting_reaches_the_gradient(weighted_exit_loss)
    assert not weighting_reaches_the_gradient(undetached)


def test_the_ratio_keeps_the_size_of_the_plain_sum() -> None:
    losses = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    probabilities = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    assert weighted_exit_loss(losses, probabilities).item() == pytest.approx(losses.sum(dim=1).mean().item(), rel=1e-5)


def test_no_gradient_of_the_network_loss_reaches_the_gates() -> None:
    probabilities = torch.full((2, 3), 1 / 3, requires_grad=True)
    losses = torch.ones(2, 3, requires_grad=True)
    torch.autograd.backward(weighted_exit_loss(losses, probabilities))
    assert probabilities.grad is None


def test_distillation_pulls_early_exits_and_leaves_the_final_one_alone() -> None:
    logits = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = exit_distillation_loss(logits, temperature=2.0)
    p = (logits.detach() / 2).softmax(dim=2)
    wanted = (p[:, -1:] * (p[:, -1:] / p[:, :-1]).log()).sum(dim=2).mean(dim=0).sum() * 4
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert logits.grad[:, -1].abs().max() == 0
    assert logits.grad[:, :-1].abs().min() > 0


def test_distillation_of_equal_exits_is_zero() -> None:
    assert exit_distillation_loss(torch.randn(2, 1, 5).expand(2, 4, 5)).item() == pytest.approx(0, abs=1e-6)
    assert exit_distillation_loss(torch.randn(2, 1, 5)).item() == 0


def test_the_floor_gives_every_way_out_a_share() -> None:
    probabilities = torch.tensor([[0.6, 0.4, 0.0, 0.0]])
    assert with_floor(probabilities, 0.2)[0].tolist() == pytest.approx([0.53, 0.37, 0.05, 0.05])
    assert torch.equal(with_floor(probabilities, 0.0), probabilities)
