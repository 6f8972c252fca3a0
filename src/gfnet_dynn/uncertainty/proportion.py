"""A share of images, such as an accuracy, with its confidence interval.

Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), score interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gfnet_dynn.units import percent

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of n images.

    Attributes:
        value: 0 to 1.
        low: lower limit of the 95% confidence interval.
        high: upper limit.
        n: number of images.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, hits: npt.NDArray[np.bool_]) -> Proportion:
        """The share of true values, [N], N at least 1."""
        n, share, z = len(hits), float(hits.mean()), NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return cls(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)

    def __str__(self) -> str:
        return f"{percent(self.value, 1)} ({100 * self.low:.1f}–{percent(self.high, 1)})"
