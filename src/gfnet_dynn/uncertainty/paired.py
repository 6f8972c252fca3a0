"""Accuracy difference of two networks on the same images, with a confidence interval.

Source: Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
Statistics in Medicine 17 (1998): the score interval, which stays honest where the two never or seldom differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gfnet_dynn.units import percent, points

_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Accuracy of network b minus accuracy of network a, over n images that both classified.

    Attributes:
        gained: images that b classifies correctly and a does not.
        lost: images that a classifies correctly and b does not.
        difference: (gained - lost) / n, -1 to 1.
        low: lower limit of the confidence interval of the difference.
        high: upper limit.
        n: number of images.
        confidence: level of the interval, 0 to 1.
    """

    gained: int
    lost: int
    difference: float
    low: float
    high: float
    n: int
    confidence: float

    def __str__(self) -> str:
        return (
            f"{points(self.difference)} ({percent(self.confidence)} interval {points(self.low)} to "
            f"{points(self.high)}; gained {self.gained}, lost {self.lost}, n = {self.n})"
        )


def paired_difference(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_], confidence: float = 0.95
) -> PairedDifference:
    """Compare network b with network a, image by image.

    Args:
        correct_a: whether a, such as fp32, classifies each image correctly, [N].
        correct_b: the same of b, such as int8, over the same images in the same order, [N].
        confidence: level of the two-sided interval, in (0, 1).

    Raises:
        ValueError: no images, arrays of different shapes, or a level out of range.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1 or not len(correct_a):
        raise ValueError(f"two arrays of the same images are needed: {correct_a.shape=}, {correct_b.shape=}")
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence=} must lie between 0 and 1")
    count = len(correct_a)
    gained, lost = int((correct_b & ~correct_a).sum()), int((correct_a & ~correct_b).sum())
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    difference = (gained - lost) / count
    low = _root(lambda delta: tango_score(gained, lost, count, delta) - z, -1.0, difference)
    high = _root(lambda delta: tango_score(gained, lost, count, delta) + z, difference, 1.0)
    return PairedDifference(gained, lost, difference, low, high, count, confidence)


def tango_score(gained: int, lost: int, count: int, delta: float) -> float:
    """Standardised distance of the observed difference from a hypothetical one; it falls as `delta` grows."""
    surplus = gained - lost - count * delta
    if surplus == 0:
        return 0.0
    # Largest-likelihood share of lost images under the hypothesis, the root of 2n q² + b q + c = 0.
    b = (2 * count - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    share = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
    variance = count * (2 * share + delta * (1 - delta))
    return surplus / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, surplus)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero, by bisection."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2
