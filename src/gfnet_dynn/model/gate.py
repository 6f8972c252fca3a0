"""The gate of JEI-DNN (Chataoui et al., arXiv 2310.09163): five parameters on four statistics of a prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def confidence_statistics(logits: Tensor) -> Tensor:
    """Statistics of p = softmax(logits) that a gate sees; natural logarithms.

    Computed from log-probabilities in float32, so confident predictions give no 0 · log 0; p² / Σp² is the softmax of
    the doubled logits.

    Args:
        logits: [B, K]; K at least 2.

    Returns:
        [B, 4]: max p, entropy of p, largest minus second largest p, entropy of p² / Σp². Detached: a gate judges a
        prediction and must not change it.
    """
    logits = logits.detach().float()
    log_p = logits.log_softmax(dim=1)
    log_q = (2 * logits).log_softmax(dim=1)
    first, second = log_p.exp().topk(2, dim=1).values.unbind(dim=1)
    return torch.stack((first, _entropy(log_p), first - second, _entropy(log_q)), dim=1)


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(dim=1)


class Gate(nn.Module):
    """Predicts whether the prediction of one exit is good enough to be the answer."""

    num_statistics = 4

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(self.num_statistics, 1)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits of the exit's head [B, K] → logit of the gate [B]; its sigmoid is the gate g."""
        with torch.autocast(logits.device.type, enabled=False):
            logit: Tensor = self.linear(confidence_statistics(logits)).squeeze(1)
        return logit
