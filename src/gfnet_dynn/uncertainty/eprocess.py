"""Sequential test for a distribution shift: do live images still have the distribution of the calibration images?

Without a shift, the probability that this test ever gives an alarm, over calibration images and live images together,
is at most its level: it may be looked at after each image, for as long as the service runs (Ville).

Ranks. A pool starts with the calibration images and grows with each live image. Two numbers describe an image by its
rank in the pool, itself included, ties broken at random: `later` by its exit among all exits, and `less_confident` by
its confidence among the images that took the same exit. If calibration and live images are exchangeable, all these
numbers are independent and uniform over 0 to 1: ranks of the exits are, and given all exits so are the ranks within
each. Ranks in a reference that does not grow are not, whatever its size.

Bets. Evidence is a capital that starts at 1 and is bet on the ranks: on later or earlier exits, on lower or higher
confidence, on each pair of those, and on more or less spread of one rank. Under uniform ranks no bet gains on average.
As both ranks are uniform and independent together, one martingale holds the bets on both: the level need not be divided
between two tests.

Late changes. A bet that was made in the first hour has lost its capital when something changes a month later. So half
of the capital is bet at the first image and the rest is kept, to be bet in ever smaller parts, one at each image. What
is bet at image t is about 1/(t log² t), so a change after a long time without one costs only a factor of that size.

Sources: Vovk, Nouretdinov, Gammerman, Testing exchangeability on-line, ICML 2003 (ranks, martingale); Vovk, Testing for
concept shift online, arXiv 2012.14246 (ranks of the category, and within it); Vovk et al., Retrain or not retrain,
arXiv 2102.10439 (linear bets, for a change that comes late); Shin, Ramdas, Rinaldo, E-detectors, arXiv 2203.03532
(sums over starts); Ville, Étude critique de la notion de collectif, 1939.

Not tested: the classes predicted. Not exchangeable, and so reported even where nothing is wrong: frames of a video,
day and night, an order by place. What changes slowly enters the pool before it is noticed, and a change at the first
image can only be as clear as the calibration images are many. Each test has its level: so has each restart of a service
that starts a new one.
"""

from __future__ import annotations

import math
import random
from typing import Any, NamedTuple

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.uncertainty.drift import BINS, Reference
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

LEAST_LEVEL = 1e-9
"""Significance level, below which no test is offered."""

_ENOUGH = 1e12  # evidence at which betting ends: no level needs more
_AT_ONCE = 0.5  # of the capital, bet at the first image
_DELAY = 100  # images, of the order after which what is kept begins to last

_MEANS = (0.0, 0.5, -0.5, 1.0, -1.0)  # stakes on the mean of a rank: each on one with each on the other
_SPREADS = (0.8, -0.8)  # stakes on the spread of one rank alone
_BETS = len(_MEANS) ** 2 - 1 + 2 * len(_SPREADS)


class Ranks(NamedTuple):
    """Where an image stands in the pool, 0 to 1, uniform where nothing has changed."""

    later: float  # larger at a later exit
    less_confident: float  # larger for less confidence than others at the same exit


class RankPool:
    """All images so far, the calibration images first, as numbers by exit and confidence; the seed is for ties."""

    def __init__(self, reference: Reference, seed: int = 0) -> None:
        self._histogram = [list(row) for row in reference.histogram]  # [G + 1, BINS]
        self._exits = list(reference.exit_counts)  # [G + 1]
        self._images = reference.images
        self._random = random.Random(seed).random

    def add(self, exit_index: int, confidence: float) -> Ranks:
        """Rank an image that took an exit, 0 to G, with a confidence of 0 to 1, and keep it.

        Raises CalibrationError: the reference has no such exit, or the confidence is no probability.
        """
        if not 0 <= exit_index < len(self._exits):
            raise CalibrationError(
                f"exit {exit_index} is none of the {counted(len(self._exits), 'exit')} of the calibration: is the "
                "reference that of this network?"
            )
        if not 0 <= confidence <= 1:
            raise CalibrationError(f"the confidence {confidence} is not a number from 0 to 1: check the network")
        row, cell = self._histogram[exit_index], min(int(float(confidence) * BINS), BINS - 1)
        row[cell] += 1
        self._exits[exit_index] += 1
        self._images += 1
        here, draw = self._exits[exit_index], self._random
        later = (sum(self._exits[:exit_index]) + draw() * here) / self._images
        return Ranks(later, (sum(row[cell + 1 :]) + draw() * row[cell]) / here)


class LiveShiftTest:
    """Sequential test of live images against the calibration images. Not for several threads without a lock.

    The cost of an image depends on the numbers of exits and bins alone, and so does the memory.
    """

    def __init__(self, reference: Reference, level: float = 0.01, seed: int = 0) -> None:
        """Start with no live image; the level is the probability of ever giving a false alarm, the seed is for ties.

        Any reference will do: where it is small, the live images before a change make up for it.

        Raises OptionError: a level below `LEAST_LEVEL` or not below 1.
        """
        if not LEAST_LEVEL <= level < 1:
            raise OptionError(f"the level must be at least {LEAST_LEVEL:g} and below 100%, not {percent(level)}")
        self._pool, self._reference_images, self._level = RankPool(reference, seed), reference.images, level
        self._images = 0
        self._alarm_image: int | None = None
        self._kept = 1 - _AT_ONCE
        self._bet = [_AT_ONCE / _BETS] * _BETS
        self._evidence = self._largest = 1.0

    def observe(self, exit_index: int, confidence: float) -> None:
        """Take one live image into account: the exit taken, 0 to G, and the largest probability there, 0 to 1.

        Raises CalibrationError, and takes nothing into account: no such exit, or the confidence is no probability.
        """
        ranks = self._pool.add(exit_index, confidence)
        self._images += 1
        if self._evidence >= _ENOUGH:
            return
        part = self._release() / _BETS
        # For so few numbers faster than NumPy.
        self._bet = [(capital + part) * factor for capital, factor in zip(self._bet, _factors(ranks), strict=True)]
        self._evidence = self._kept + sum(self._bet)
        self._largest = max(self._largest, self._evidence)
        if self._alarm_image is None and self._evidence >= self.alarm_at:
            self._alarm_image = self._images

    def _release(self) -> float:
        """What is bet from this image on, of the capital that was kept: nothing at the first."""
        before = self._kept
        self._kept = (1 - _AT_ONCE) * math.log(_DELAY) / math.log(_DELAY + self._images - 1)
        return before - self._kept

    @property
    def images(self) -> int:
        """Number of live images."""
        return self._images

    @property
    def evidence(self) -> float:
        """For a shift, 1 at first; it ends at some large value, far above any level's alarm."""
        return self._evidence

    @property
    def largest_evidence(self) -> float:
        """So far."""
        return self._largest

    @property
    def alarm_at(self) -> float:
        """The evidence that gives an alarm, 1 over the level."""
        return 1 / self._level

    @property
    def shift_detected(self) -> bool:
        """Whether there was an alarm; it stays: only a new test, against a new calibration, starts again."""
        return self._alarm_image is not None

    @property
    def alarm_image(self) -> int | None:
        """Number of live images at the alarm."""
        return self._alarm_image

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "images": self.images,
            "reference_images": self._reference_images,
            "evidence": self.evidence,
            "largest_evidence": self.largest_evidence,
            "alarm_at": self.alarm_at,
            "level": self._level,
            "shift_detected": self.shift_detected,
            "alarm_image": self.alarm_image,
        }


def _factors(ranks: Ranks) -> list[float]:
    """By which each bet multiplies its capital: never below 0, and 1 on average over uniform ranks."""
    later, less = ranks.later - 0.5, ranks.less_confident - 0.5
    on_confidence = [1 + stake * less for stake in _MEANS]
    pairs = [(1 + stake * later) * factor for stake in _MEANS for factor in on_confidence]
    spreads = (6 * later * later - 0.5, 6 * less * less - 0.5)
    return pairs[1:] + [1 + stake * spread for spread in spreads for stake in _SPREADS]  # the first stakes nothing
