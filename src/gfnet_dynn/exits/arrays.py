"""Outputs of every exit for every image of a split: from these arrays any exit policy is evaluated offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ExitArrays:
    """The outputs of all exits over one split.

    Attributes:
        logits: float32 [N, G + 1, K], the final classifier last.
        gates: float32 [N, G], probabilities.
        labels: int64 [N], class indices.
    """

    logits: npt.NDArray[np.float32]
    gates: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        samples, exits, _ = self.logits.shape
        if self.gates.shape != (samples, exits - 1) or self.labels.shape != (samples,):
            raise ValueError(f"shapes disagree: {self.logits.shape=}, {self.gates.shape=}, {self.labels.shape=}")

    def take(self, rows: npt.NDArray[np.intp]) -> ExitArrays:
        """Some of the images, by index."""
        return ExitArrays(self.logits[rows], self.gates[rows], self.labels[rows])

    @property
    def predictions(self) -> npt.NDArray[np.intp]:
        """Class index of each exit, [N, G + 1]."""
        return np.asarray(self.logits.argmax(axis=2))

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each exit predicts the label, [N, G + 1]."""
        return np.asarray(self.predictions == self.labels[:, None])


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, computed in float64: logits [..., K] → [..., K]."""
    wide = np.asarray(logits, np.float64)
    exponentials = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))
