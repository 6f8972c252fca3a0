"""Heads fitted in closed form: to the optimum, folded back exactly, and kept only where they help."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.train.losses import exit_losses, gate_targets, positive_weights
from gfnet_dynn.train.stages import refit
from gfnet_dynn.train.stages.refit import Features, collect_features, fit_linear, refit_gates, refit_heads
from tests.train.conftest import TINY, MakeContext


def clouds(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four classes around four means, on axes of very different scale."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    means = torch.eye(4).repeat(1, 4)[:, :16]
    features = means[labels] + 0.3 * torch.randn(count, 16, generator=generator)
    return features * torch.logspace(-3, 3, 16) + 5, labels


def test_the_fit_is_the_optimum_of_its_loss() -> None:
    features, labels = clouds(200, 0)
    ridge, smoothing = 1e-2, 0.1
    weight, bias = fit_linear(features, labels, 4, ridge, smoothing)
    mean, deviation = features.mean(0), features.std(0)
    scaled = (weight * deviation).requires_grad_()
    moved = (bias + weight @ mean).requires_grad_()
    loss = nn.functional.cross_entropy(
        nn.functional.linear((features - mean) / deviation, scaled, moved), labels, label_smoothing=smoothing
    )
    gradients = torch.autograd.grad(loss + ridge * scaled.square().sum(), (scaled, moved))
    assert all(gradient.abs().max() < 1e-3 for gradient in gradients)
    unseen, right = clouds(400, 1)
    assert ((unseen @ weight.t() + bias).argmax(1) == right).float().mean() > 0.95


@pytest.mark.parametrize("constant", [7.0, 0.1, 0.0031622776, 1e-9])  # not all of them are their own mean in float32
def test_a_feature_that_is_constant_but_for_rounding_does_not_count(constant: float) -> None:
    features, labels = clouds(600, 0)
    features[:, 3] = constant
    weight, bias = fit_linear(features, labels, 4, 1e-3)
    assert weight[:, 3].abs().max() == 0
    assert weight.isfinite().all()
    assert bias.isfinite().all()
    assert ((features @ weight.t() + bias).argmax(1) == labels).float().mean() > 0.9


def test_heads_are_kept_only_where_selection_gains() -> None:
    torch.manual_seed(0)
    net = build_net(TINY)
    train, selection = clouds(200, 0), clouds(80, 1)
    seen, judged = (Features((features,) * 3, labels) for features, labels in (train, selection))
    best = fit_linear(*selection, 4, 1e-4)  # which nothing beats there
    net.heads[1].load_state_dict(dict(zip(("weight", "bias"), best, strict=True)))
    before = [head.weight.detach().clone() for head in net.heads]
    refits = refit_heads(net, seen, judged, 0.0, exit_indices=[0, 1])
    assert [refit.kept for refit in refits] == [True, False]
    assert refits[0].after > 0.9 > refits[0].before
    assert [torch.equal(old, head.weight) for old, head in zip(before, net.heads, strict=True)] == [False, True, True]
    assert str(refits[1]).endswith("(not used)")


@pytest.mark.parametrize(("gained", "kept"), [(0, False), (1, False), (2, True)])
def test_one_image_more_is_chance(monkeypatch: pytest.MonkeyPatch, gained: int, *, kept: bool) -> None:
    net, classes = build_net(TINY), torch.arange(80) % 4
    features = torch.zeros(80, net.heads[0].in_features)
    features[torch.arange(80), classes] = 1.0
    features[torch.arange(gained) * 4, 4] = 1.0  # images of class 1 that look like class 0 but for this
    labels = torch.where(features[:, 4] > 0, 1, classes)
    plain = torch.eye(*net.heads[0].weight.shape)
    plain[:, 4] = 0.0
    knowing = plain.clone()
    knowing[1, 4] = 5.0
    zeros = torch.zeros(4)
    net.heads[0].load_state_dict({"weight": plain, "bias": zeros})
    monkeypatch.setattr(refit, "fit_linear", lambda *_: (knowing, zeros))
    selection = Features((features,), labels)
    (found,) = refit_heads(net, selection, selection, 0.0, exit_indices=[0])
    assert round(80 * (found.after - found.before)) == gained
    assert found.kept == kept
    assert torch.equal(net.heads[0].weight, knowing if kept else plain)


def test_features_are_what_the_heads_see(make_context: MakeContext) -> None:
    context = make_context()
    images, labels = torch.randn(5, 3, 32, 32), torch.arange(5) % 4

    features = collect_features(context.net.train(), [Batch(images, labels)] * 2)
    assert context.net.training
    context.net.eval()
    logits = context.net(images).logits
    for index, head in enumerate(context.net.heads):
        torch.testing.assert_close(head(features.pooled[index][5:]), logits[:, index])
    assert features.labels.tolist() == [*labels.tolist()] * 2


def test_gates_are_fitted_to_the_optimum_of_their_loss() -> None:
    torch.manual_seed(0)
    net = build_net(TINY)
    labels = torch.arange(120) % 4
    # The later the exit, the more often it is right, and it is sure where it is right.
    strength = torch.tensor([0.5, 1.0, 3.0]).view(1, 3, 1) * torch.rand(120, 1, 1) * 4
    logits = strength * nn.functional.one_hot(labels, 4).view(120, 1, 4) + torch.randn(120, 3, 4)
    arrays = ExitArrays(logits.numpy(), np.zeros((120, 2), np.float32), labels.numpy())
    net.requires_grad_(False)
    refit_gates(net, arrays, tradeoff=0.75)

    targets = gate_targets(exit_losses(logits, labels), net.exit_costs(), 0.75)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=positive_weights(targets))(net.gate_logits(logits), targets)
    gradients = torch.autograd.grad(loss, list(net.gates.parameters()))
    assert all(gradient.abs().max() < 1e-2 for gradient in gradients)
    verdicts = net.gate_logits(logits) > 0
    for gate in range(2):
        wanted = targets[:, gate] > 0
        right = (verdicts[:, gate] == wanted).float()
        # The better half of each kind is told apart, whatever the share of the kinds.
        assert right[wanted].mean() + right[~wanted].mean() > 1.2
