"""The losses of both stages: pure functions of tensors.

Shapes: B samples, G early exits, G + 1 exits, K classes. Source: JEI-DNN (Chataoui et al., arXiv 2310.09163), with
the ratio of `weighted_exit_loss` detached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gfnet_dynn.data.split import UNLABELLED

_LARGEST_POSITIVE_WEIGHT = 5.0
_TINY = 1e-12  # keeps a ratio finite when every weighted loss is zero


def exit_losses(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each sample at each exit, [B, G + 1], of `logits` [B, G + 1, K].

    It is 0 for samples without a label among `labels` [B]. The label smoothing is the share spread over all classes.
    """
    flat = functional.cross_entropy(
        logits.flatten(0, 1).float(),
        labels.repeat_interleave(logits.shape[1]),
        label_smoothing=label_smoothing,
        reduction="none",
        ignore_index=UNLABELLED,
    )
    return flat.view(logits.shape[:2])


def warmup_loss(losses: Tensor, training: Sequence[bool]) -> Tensor:
    """Σ over the exits still training of (G + 2 - l) · CE_l with l counted from 1: earlier exits weigh more.

    The final classifier, last of `losses` [B, G + 1], takes no part; `training` [G]: whether an early head still
    trains.
    """
    gates = len(training)
    weights = losses.new_tensor([(gates + 1 - index) * on for index, on in enumerate(training)])
    return (losses[:, :gates].mean(dim=0) * weights).sum()


def gate_targets(losses: Tensor, costs: Sequence[float], tradeoff: float) -> Tensor:
    """Whether each gate should let a sample go: from the exit on that is best by loss and cost together.

    l* = argmin_l [CE_l + λ · c_l] over all exits, with `losses` [B, G + 1], `costs` [G + 1] as shares of the full
    network's and the tradeoff λ; the target of gate l is 1 for l ≥ l*: float [B, G], zeros and ones.
    """
    best = (losses + tradeoff * losses.new_tensor(costs)).argmin(dim=1, keepdim=True)
    gates = torch.arange(losses.shape[1] - 1, device=losses.device)
    return (gates >= best).to(losses.dtype)


def positive_weights(targets: Tensor) -> Tensor:
    """Weight of the positives of each gate [G], min(5, (n - n_l) / n_l), from targets [N, G] over the selection split.

    5 where a gate has no positive, and never 0: a gate that always should let go must still learn it.
    """
    positives = targets.sum(dim=0)
    weights = (len(targets) - positives) / positives.clamp(min=_TINY)
    smallest = 1 / max(len(targets), 1)
    return weights.clamp(min=smallest, max=_LARGEST_POSITIVE_WEIGHT)


def exit_probabilities(gates: Tensor) -> Tensor:
    """The probability of leaving at each exit: P_l = max(0, min(g_l, 1 - Σ_{j<l} g_j)), the rest at the end.

    [B, G] → [B, G + 1]; each row sums to 1.
    """
    left = functional.pad(gates.cumsum(dim=1)[:, :-1], (1, 0)) if gates.shape[1] else gates
    early = torch.minimum(gates, 1 - left).clamp(min=0)
    return torch.cat((early, 1 - early.sum(dim=1, keepdim=True)), dim=1)


def with_floor(probabilities: Tensor, floor: float) -> Tensor:
    """Mix the leaving probabilities [B, G + 1] with an even share for every exit; a floor of 1 makes all exits equal.

    Gates that sum to 1 leave the later exits a probability of 0: without a floor the final classifier, which also
    teaches the others, would stop training while the backbone below it moves on.
    """
    return (1 - floor) * probabilities + floor / probabilities.shape[1]


MeanOfAll = Callable[[Tensor], Tensor]
"""From means over the samples here to those over the samples of all processes that share a batch; no gradient flows."""


def alone(means: Tensor) -> Tensor:
    """The `MeanOfAll` of a process that has the whole batch."""
    return means.detach()


def weighted_exit_loss(losses: Tensor, probabilities: Tensor, mean_of_all: MeanOfAll = alone) -> Tensor:
    """Mean over the samples of Σ_l P_l · CE_l · r with r = ΣCE / ΣP·CE, which keeps the size of the plain sum.

    `losses` and `probabilities` are [B, G + 1]; into the latter no gradient flows. r is detached: with its gradient the
    product is ΣCE / B to the letter, and the weighting by P would cancel. It is that of the whole batch.
    """
    weighted = probabilities.detach() * losses
    mean = weighted.sum(dim=1).mean()
    plain, after = mean_of_all(torch.stack((losses.sum(dim=1).mean(), mean)))
    loss: Tensor = mean * (plain / after.clamp(min=_TINY))
    return loss


def soft_losses(logits: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher ‖ student) at temperature τ, times τ²: [..., K] → [...].

    The teacher's logits are broadcast against the student's; no gradient flows into them.
    """
    log_student = (logits.float() / temperature).log_softmax(dim=-1)
    log_teacher = (teacher.detach().float() / temperature).log_softmax(dim=-1).expand_as(log_student)
    divergence = functional.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(dim=-1)
    return divergence * temperature**2


def exit_distillation_loss(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """What the earlier exits lack of the final classifier: the sum over them of the mean KL over the samples.

    A sum, as the cross-entropies beside it are summed over the exits too. No gradient flows into the final classifier,
    the last of `logits` [B, G + 1, K]. The temperature softens both sides.
    """
    return soft_losses(logits[:, :-1], logits[:, -1:], temperature).mean(dim=0).sum()
