"""What an image may lose by leaving early, at every exit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.arrays import ExitArrays, softmax

RiskName = Literal["drop", "harm", "error", "disagreement", "brier"]


@dataclass(frozen=True, slots=True)
class Risk:
    """A loss of each image at each exit, whose mean is the risk.

    Attributes:
        losses: [N, G + 1].
        low: least possible loss.
        high: largest possible loss.
    """

    losses: npt.NDArray[np.float64]
    low: float
    high: float

    @property
    def is_binary(self) -> bool:
        """Whether a loss is 0 or 1, nothing else."""
        return (self.low, self.high) == (0, 1) and bool(np.isin(self.losses, (0, 1)).all())


def risk_of(arrays: ExitArrays, name: RiskName) -> Risk:
    """The losses of one risk.

    `drop`: 1 where the full network is right and the exit wrong, −1 where it is the other way round, so that the mean
    is the drop of accuracy. `harm`: the former alone, and so never less than the drop. `error`: 1 where the exit is
    wrong. `disagreement`: 1 where its class is another than the full network's. `brier`: squared distance of its
    probabilities from the truth, 0 to 2.

    Args:
        arrays: all exits over N images.
        name: which risk.
    """
    right, full = arrays.correct, arrays.correct[:, -1:]
    if name == "drop":
        return Risk(full.astype(np.float64) - right, -1, 1)
    if name == "harm":
        return Risk((full & ~right).astype(np.float64), 0, 1)
    if name == "error":
        return Risk((~right).astype(np.float64), 0, 1)
    if name == "disagreement":
        return Risk((arrays.predictions != arrays.predictions[:, -1:]).astype(np.float64), 0, 1)
    return Risk(_brier(arrays), 0, 2)


def _brier(arrays: ExitArrays) -> npt.NDArray[np.float64]:
    probabilities = softmax(arrays.logits)
    of_label = np.take_along_axis(probabilities, arrays.labels[:, None, None], axis=2)[:, :, 0]
    return np.asarray((probabilities**2).sum(axis=2) - 2 * of_label + 1)
