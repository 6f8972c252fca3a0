"""Accuracy and cost of the network with early exits over a range of thresholds, computed from stored outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.rule import NEVER, ExitArrays, first_exit, per_exit

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, NEVER)
"""From the first exit for all images to the full network; denser where most gates lie."""

PLAIN_THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, NEVER)
"""The same for max-softmax."""

_ROUNDING = 1e-9  # far below one image's part of any split: 3 · 0.01 is below 0.03 in binary


@dataclass(frozen=True)
class OperatingPoint:
    """The network at one setting of the thresholds."""

    thresholds: tuple[float, ...]  # τ_l for each gate, [G]
    exits: npt.NDArray[np.intp]  # the exit that each image takes, [N]
    predictions: npt.NDArray[np.intp]  # class index of each image, [N]
    accuracy: float  # top-1 of the gated output, 0 to 1
    shares: tuple[float, ...]  # share of the images that takes each exit, [G + 1]
    exit_accuracy: tuple[float, ...]  # top-1 of the images that take each exit, [G + 1]; NaN where none does
    mean_cost: float  # mean over the images of the cost of the exit taken, in the unit of the given costs


def operate(arrays: ExitArrays, costs: Sequence[float], threshold: float | Sequence[float]) -> OperatingPoint:
    """The network with one threshold for all exits, or one each; costs are of each exit, [G + 1], in any unit."""
    exits = first_exit(arrays.gates, threshold)
    rows = np.arange(len(exits))
    correct = arrays.correct[rows, exits]
    taken = [exits == index for index in range(arrays.logits.shape[1])]
    return OperatingPoint(
        thresholds=per_exit(threshold, arrays.gates.shape[1]),
        exits=exits,
        predictions=arrays.predictions[rows, exits],
        accuracy=float(correct.mean()),
        shares=tuple(float(mask.mean()) for mask in taken),
        exit_accuracy=tuple(float(correct[mask].mean()) if mask.any() else float("nan") for mask in taken),
        mean_cost=float(np.asarray(costs, dtype=np.float64)[exits].mean()),
    )


def sweep(
    arrays: ExitArrays, costs: Sequence[float], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[OperatingPoint, ...]:
    """The network at each of several thresholds, the same for all exits."""
    return tuple(operate(arrays, costs, threshold) for threshold in thresholds)


def last_within(points: Sequence[OperatingPoint], allowed_loss: float) -> OperatingPoint:
    """The cheapest setting up to which at most `allowed_loss` of the images disagree with the full network.

    Disagreement is never below the loss of accuracy, and varies less on few images, where gains hide losses. Settings
    beyond the first that disagrees too often are not considered. The choice has no guarantee on other images: use the
    selection split, never the images that results are reported on. The points are those of `sweep`, from the cheapest
    setting to the full network.
    """
    full, chosen = points[-1].predictions, points[-1]
    for point in reversed(points):
        if float((point.predictions != full).mean()) > allowed_loss + _ROUNDING:
            break
        chosen = point
    return chosen
