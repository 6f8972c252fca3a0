"""Conformal prediction sets, and conformal thresholds below which the answer for an image is "unknown".

A set holds the classes whose nonconformity, 1 minus the probability, is no larger than that of the true classes of
calibration images, so the true class is in it with a guaranteed probability. Images from their distribution are called
unknown no more often than the false-alarm rate; how often others are, nothing guarantees. Sources: Sadinle et al.,
Least ambiguous set-valued classifiers with bounded error levels, arXiv 1609.00451; Vovk, Conditional validity of
inductive conformal predictors, arXiv 1209.2673 (a guarantee for each exit); Liu et al., Energy-based
out-of-distribution detection, arXiv 2010.03759 (their negative energy at temperature 1); Bates et al., Testing for
outliers with conformal p-values, arXiv 2104.08279.

The guarantee is for the mean over calibration images and the new image, all from one distribution. Nothing that
determines scores or exits may have been chosen on the calibration images: no weights, no thresholds, no temperature.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.uncertainty.reliability import of_label

ALL_CLASSES = math.inf
"""A quantile that excludes no class."""

NEVER_UNKNOWN = -math.inf
"""A threshold that no familiarity lies below."""

_ROUNDING = 1e-12  # 0.55 · 100 is above 55 in binary, which would take the next score

Floats = npt.NDArray[np.floating]


def conformal_quantile(scores: Floats, coverage: float) -> float:
    """The ⌈(n + 1) · coverage⌉-th smallest of n scores: a new one is no larger with probability `coverage` or more.

    `ALL_CLASSES` where n is below `images_needed`. Raises CalibrationError: a score is not a number.
    """
    if not np.isfinite(scores).all():
        raise CalibrationError("some scores of the calibration images are not numbers: check the network")
    rank = _rank(len(scores), coverage)
    return ALL_CLASSES if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def per_exit_quantiles(
    scores: Floats, exits: npt.NDArray[np.integer], num_exits: int, coverage: float
) -> npt.NDArray[np.float64]:
    """A `conformal_quantile` for each exit, [G + 1], from the images that take it, so the guarantee holds at each exit.

    Scores of n calibration images, [n], and the exit that each takes, 0 to G, [n].

    Raises CalibrationError: a score is not a number.
    """
    return np.array([conformal_quantile(scores[exits == index], coverage) for index in range(num_exits)])


def nonconformity(probabilities: Floats, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """1 minus the probability of the label: [N, K] and class indices [N] → [N].

    Raises CalibrationError: a label is no class index.
    """
    return 1 - of_label(probabilities, labels)


def prediction_sets(probabilities: Floats, quantiles: float | Floats) -> npt.NDArray[np.bool_]:
    """Which classes are in the set of each image, [N, K]; the most probable one always is. NaN excludes no class.

    Probabilities are of new images at the exit taken, [N, K]; quantiles one for all, or that of the exit of each, [N].
    """
    sets = ~(1 - probabilities.astype(np.float64) > np.asarray(quantiles, np.float64).reshape(-1, 1))
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return np.asarray(sets)


def images_needed(coverage: float) -> int:
    """The fewest calibration images with which a quantile for a coverage in (0, 1) excludes any class."""
    needed = max(1, math.ceil(coverage / (1 - coverage)))
    return needed - 1 if needed > 1 and _rank(needed - 1, coverage) < needed else needed


def familiarity(logits: Floats) -> npt.NDArray[np.float64]:
    """Log Σ exp of the logits, higher for images like the training images: [..., K] → [...].

    It has no unit, and each exit has its own scale: compare images that take the same exit.
    """
    wide = np.asarray(logits, np.float64)
    largest = wide.max(axis=-1)
    return np.asarray(largest + np.log(np.exp(wide - largest[..., None]).sum(axis=-1)))


def unknown_thresholds(
    familiar: Floats, exits: npt.NDArray[np.integer], num_exits: int, false_alarms: float
) -> npt.NDArray[np.float64]:
    """For each exit the ⌊(n + 1) · rate⌋-th smallest familiarity of the n images that take it, [G + 1].

    `NEVER_UNKNOWN` at an exit that fewer than 1 / rate − 1 images take. Familiarity and exits of calibration images are
    [N]; the false-alarm rate, in (0, 1), is the share of such images that may be called unknown at each exit. Raises
    CalibrationError: a familiarity is not a number.
    """
    return -per_exit_quantiles(-familiar, exits, num_exits, 1 - false_alarms)


def unknown_distance(distances: Floats, false_alarms: float) -> float:
    """The ⌈(n + 1) · (1 − rate)⌉-th smallest of n distances from the training images, [n]: further ones are unknown.

    Raises CalibrationError: a distance is not a number.
    """
    return conformal_quantile(distances, 1 - false_alarms)


def is_unknown(familiar: Floats, threshold: float | Floats) -> npt.NDArray[np.bool_]:
    """Whether the familiarity of each image is below the threshold, one for all or one each; NaN is: [N] → [N]."""
    return np.asarray(~(familiar >= threshold))


def _rank(count: int, coverage: float) -> int:
    """Rank of the conformal quantile among n scores, 1 to n + 1."""
    return math.ceil((count + 1) * coverage * (1 - _ROUNDING))
