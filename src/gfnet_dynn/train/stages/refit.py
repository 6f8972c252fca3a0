"""Classifiers refitted to convergence on fixed features: beyond what gradient steps of the whole network reach.

Multinomial logistic regression with smoothed labels and a ridge, by L-BFGS on standardised features; afterwards the
standardisation is folded into the linear map, so the network stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.train.losses import exit_losses, gate_targets, positive_weights
from gfnet_dynn.units import percent

RIDGES = (1e-4, 1e-3, 1e-2)
"""Weights of the squared coefficients that are tried; the selection split decides."""

_ITERATIONS = 150
_TINY = 1e-6
_ROUNDING = 1e-5  # of a mean: above what float32 makes of a constant, below what tells classes apart
_GATE_RIDGE = 1e-4  # keeps the optimum of separable targets finite


@dataclass(frozen=True)
class Features:
    """Inputs of the classifiers for some images: for each exit [N, width there], and labels [N]."""

    pooled: tuple[Tensor, ...]
    labels: Tensor


@dataclass(frozen=True)
class Refit:
    """Result of refitting one classifier: accuracies on the selection split before and, at the best ridge, after it.

    The refitted weights are kept only where they are better by more than a standard error.
    """

    before: float
    after: float
    kept: bool

    def __str__(self) -> str:
        """Accuracy before and after."""
        return f"{percent(self.before, 1)} → {percent(self.after, 1)}" + ("" if self.kept else " (not used)")


@torch.no_grad()
def collect_features(net: EarlyExitNet, batches: Iterable[Batch]) -> Features:
    """What each classifier sees of some batches, by one pass of the backbone in evaluation mode; on the CPU."""
    was_training = net.training
    net.eval()
    pooled: list[list[Tensor]] = []
    labels: list[Tensor] = []
    for batch in batches:
        pooled.append([each.float().cpu() for each in net.pooled(batch.images)])
        labels.append(batch.labels.cpu())
    net.train(was_training)
    return Features(tuple(torch.cat(each) for each in zip(*pooled, strict=True)), torch.cat(labels))


def refit_heads(
    net: EarlyExitNet, train: Features, selection: Features, label_smoothing: float, exit_indices: Sequence[int]
) -> list[Refit]:
    """Refit the classifiers of `exit_indices` and keep what is better on the selection split.

    Better means: by more than a standard error. The best of several ridges is chosen with an optimistic bias, and one
    more correct image of a hundred is noise: a classifier that was trained with its backbone must not be replaced for
    that. The error is that of the difference, the root of the number of images on which exactly one of the two is
    correct.
    """
    outcomes: list[Refit] = []
    for exit_index in exit_indices:
        head, fitted_on, judged_on = net.heads[exit_index], train.pooled[exit_index], selection.pooled[exit_index]
        before = _right(head.weight.detach().cpu(), head.bias.detach().cpu(), judged_on, selection.labels)
        candidates = [
            fit_linear(fitted_on, train.labels, head.out_features, ridge, label_smoothing) for ridge in RIDGES
        ]
        judged = [_right(weight, bias, judged_on, selection.labels) for weight, bias in candidates]
        best = max(range(len(judged)), key=lambda index: int(judged[index].sum()))
        gained, lost = int((judged[best] & ~before).sum()), int((before & ~judged[best]).sum())
        kept = gained - lost > math.sqrt(gained + lost)
        if kept:
            with torch.no_grad():
                head.weight.copy_(candidates[best][0])
                head.bias.copy_(candidates[best][1])
        outcomes.append(Refit(float(before.float().mean()), float(judged[best].float().mean()), kept))
    return outcomes


def refit_gates(net: EarlyExitNet, selection: ExitArrays, tradeoff: float) -> None:
    """Fit the gates to classifiers that changed since they were trained, by the same loss, to convergence.

    On the selection split: refitted classifiers are overconfident on the training images, and a gate has too few
    parameters to overfit much.
    """
    device = next(net.parameters()).device
    logits, labels = (torch.from_numpy(each).to(device) for each in (selection.logits, selection.labels))
    targets = gate_targets(exit_losses(logits, labels), net.exit_costs(), tradeoff)
    gate_loss = nn.BCEWithLogitsLoss(pos_weight=positive_weights(targets))
    parameters = list(net.gates.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)

    def loss() -> Tensor:
        ridge = sum((parameter.square().sum() for parameter in parameters), start=logits.new_zeros(()))
        fit: Tensor = gate_loss(net.gate_logits(logits), targets)
        return fit + _GATE_RIDGE * ridge

    _minimise(parameters, loss)


def fit_linear(
    features: Tensor, labels: Tensor, num_classes: int, ridge: float, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier to convergence: weight [K, D] and bias [K], for `features` [N, D] as given.

    `ridge` is the weight of the mean squared coefficient, on standardised features; `label_smoothing` the share of the
    target spread over all classes.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    # What varies by rounding alone must not count: scaled up, it would answer wildly on an image that wakes it.
    deviation[deviation <= _TINY + _ROUNDING * mean.abs()] = torch.inf
    standard = (features - mean) / deviation
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)

    def loss() -> Tensor:
        logits = nn.functional.linear(standard, weight, bias)
        fit = nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        return fit + ridge * weight.square().sum()

    _minimise([weight, bias], loss)
    folded = weight.detach() / deviation
    return folded, bias.detach() - folded @ mean


def _minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call] # torch leaves it untyped


def _right(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Whether a linear classifier is correct on each sample, [N] of bool."""
    predictions = nn.functional.linear(features, weight, bias).argmax(dim=1)
    return predictions == labels
