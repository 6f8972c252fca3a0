"""Remembers the weights that a stage will end with."""

from __future__ import annotations

import math

from torch import Tensor, nn


class BestWeights:
    """A copy of a module's weights at its best score, or at a later one that is as good for all that one can tell.

    Attributes:
        score: the best so far, larger is better; None before the first.
        epochs_without: epochs since then.
        weights: by name; empty before the first.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self.epochs_without = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, score: float, module: nn.Module, slack: float | None = None) -> None:
        """Keep the module's weights if `score` is good enough.

        Args:
            score: larger is better.
            module: copied, not referred to.
            slack: what a later score may lack to the best and yet be taken, as it should where later weights are more
                mature; None: it must be better.
        """
        best = -math.inf if self.score is None else self.score
        better = score > best
        if better or (slack is not None and score >= best - slack):
            self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        self.epochs_without = 0 if better else self.epochs_without + 1
        self.score = max(best, score)

    def restore(self, module: nn.Module) -> None:
        """Put the weights kept back; nothing happens where none was kept."""
        if self.weights:
            module.load_state_dict(self.weights)
