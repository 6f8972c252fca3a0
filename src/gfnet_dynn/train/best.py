"""Remembers the best weights that a stage saw."""

from __future__ import annotations

from torch import Tensor, nn


class BestWeights:
    """A copy of a module's weights at its best score.

    Attributes:
        score: the best so far, larger is better; minus infinity before the first.
        epochs_without: epochs since then.
    """

    def __init__(self) -> None:
        self.score = float("-inf")
        self.epochs_without = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, score: float, module: nn.Module, *, ties: bool) -> bool:
        """Keep the module's weights if `score` is better.

        Args:
            score: larger is better.
            module: copied, not referred to.
            ties: whether an equal score counts as better, as it should where later weights are more mature.
        """
        better = score > self.score or (ties and score == self.score)
        if better:
            self.score, self.epochs_without = score, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        else:
            self.epochs_without += 1
        return better

    def restore(self, module: nn.Module) -> None:
        """Put the best weights back; nothing happens where none was kept."""
        if self.weights:
            module.load_state_dict(self.weights)
