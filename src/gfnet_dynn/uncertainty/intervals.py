"""Accuracies, and differences of two accuracies over the same images, with their confidence intervals.

Sources: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), score interval;
Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
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

CONFIDENCE = 0.95

_HALVINGS = 50  # down to rounding


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of n images, 0 to 1, with the limits of its 95% confidence interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, hits: npt.NDArray[np.bool_]) -> Proportion:
        """The share of true values, [N], N at least 1."""
        n, share, z = len(hits), float(hits.mean()), normal_quantile(CONFIDENCE)
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return cls(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)

    def __str__(self) -> str:
        return f"{percent(self.value, 1)} ({100 * self.low:.1f}–{percent(self.high, 1)})"


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Accuracy of network b minus accuracy of network a, over n images that both classified."""

    gained: int  # images that b classifies correctly and a does not
    lost: int  # images that a classifies correctly and b does not
    difference: float  # (gained - lost) / n, -1 to 1
    low: float  # with `high`, the limits of the confidence interval of the difference
    high: float
    n: int
    confidence: float  # level of the interval, 0 to 1

    def __str__(self) -> str:
        return (
            f"{points(self.difference)} ({percent(self.confidence)} interval {points(self.low)} to "
            f"{points(self.high)}; gained {self.gained}, lost {self.lost}, n = {self.n})"
        )


def paired_difference(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_], confidence: float = CONFIDENCE
) -> PairedDifference:
    """Compare network b, such as int8, with network a, such as fp32, image by image.

    Whether each classifies each of the same images correctly is [N], in the same order; the confidence level of the
    two-sided interval is in (0, 1).

    Raises ValueError: no images, arrays of different shapes, or a level out of range.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1 or not len(correct_a):
        raise ValueError(f"two arrays of the same images are needed: {correct_a.shape=}, {correct_b.shape=}")
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence=} must lie between 0 and 1")
    count, z = len(correct_a), normal_quantile(confidence)
    gained, lost = int((correct_b & ~correct_a).sum()), int((correct_a & ~correct_b).sum())
    difference = (gained - lost) / count
    low = falling_root(lambda delta: tango_score(gained, lost, count, delta) - z, -1.0, difference)
    high = falling_root(lambda delta: tango_score(gained, lost, count, delta) + z, difference, 1.0)
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


def normal_quantile(confidence: float) -> float:
    """Half the width of a two-sided interval of the standard normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def falling_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero, by bisection."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2
