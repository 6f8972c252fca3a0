"""The loss of each image at each exit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.arrays import ExitArrays, softmax

RiskName = Literal["accuracy-drop", "harmful-exits", "error", "disagreement", "brier"]


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


def risk_of(arrays: ExitArrays, name: RiskName, reference: ExitArrays | None = None) -> Risk:
    """The losses of one risk against a reference network.

    `accuracy-drop`: 1 where the reference is correct and the exit wrong, −1 where it is the other way round; the mean
    is the drop of accuracy. `harmful-exits`: 1 in the first case alone, so it is never below the accuracy drop.
    `error`: 1 where the exit is wrong. `disagreement`: 1 where its class is not the reference's. `brier`: squared
    distance of its probabilities from the label, 0 to 2.

    Args:
        arrays: all exits over N images, in any precision.
        name: which risk.
        reference: its final exit is compared with: fp32 over the same images; by default `arrays`.
    """
    full, correct = arrays if reference is None else reference, arrays.correct
    full_correct = full.correct[:, -1:]
    if name == "accuracy-drop":
        return Risk(full_correct.astype(np.float64) - correct, -1, 1)
    if name == "harmful-exits":
        return Risk((full_correct & ~correct).astype(np.float64), 0, 1)
    if name == "error":
        return Risk((~correct).astype(np.float64), 0, 1)
    if name == "disagreement":
        return Risk((arrays.predictions != full.predictions[:, -1:]).astype(np.float64), 0, 1)
    return Risk(_brier(arrays), 0, 2)


def _brier(arrays: ExitArrays) -> npt.NDArray[np.float64]:
    probabilities = softmax(arrays.logits)
    of_label = np.take_along_axis(probabilities, arrays.labels[:, None, None], axis=2)[:, :, 0]
    return np.asarray((probabilities**2).sum(axis=2) - 2 * of_label + 1)
