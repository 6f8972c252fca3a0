"""Conformal prediction sets: so many classes that the true one is among them with a guaranteed probability.

Split conformal prediction gives each class a nonconformity score, and keeps the classes whose score is no larger than
those of the true classes of calibration images. Sources: Sadinle et al., Least ambiguous set-valued classifiers with
bounded error levels, arXiv 1609.00451 (`least-ambiguous`); Romano et al., Classification with valid and adaptive
coverage, arXiv 2006.02544 (`adaptive`, without its randomisation, which only adds classes); Vovk, Conditional validity
of inductive conformal predictors, arXiv 1209.2673 (a guarantee for each exit).

The coverage is the mean over calibration images and the new image, all from one distribution. Nothing that determines
scores or exits may have been chosen on the calibration images: no weights, no thresholds, no temperature.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.uncertainty.reliability import of_label

SetScore = Literal["least-ambiguous", "adaptive"]
"""1 minus the class's probability: the smallest sets; or the summed probability of all classes down to it: larger sets
for hard images and smaller ones for easy images, so that the coverage of both is more equal."""

SET_SCORES: tuple[SetScore, ...] = ("least-ambiguous", "adaptive")

ALL_CLASSES = math.inf
"""A quantile that excludes no class."""

_ROUNDING = 1e-12  # 0.55 · 100 is above 55 in binary, which would take the next score


def class_scores(probabilities: npt.NDArray[np.floating], score: SetScore) -> npt.NDArray[np.float64]:
    """Nonconformity of each class for each image: [N, K] → [N, K]; equal probabilities keep the order of classes."""
    wide = probabilities.astype(np.float64)
    if score == "least-ambiguous":
        return np.asarray(1 - wide)
    order = np.argsort(-wide, axis=1, kind="stable")
    scores = np.empty_like(wide)
    np.put_along_axis(scores, order, np.take_along_axis(wide, order, axis=1).cumsum(axis=1), axis=1)
    return scores


def conformal_quantile(scores: npt.NDArray[np.floating], coverage: float) -> float:
    """The ⌈(n + 1) · coverage⌉-th smallest score: a new one is no larger with probability `coverage` or more.

    Args:
        scores: of n calibration images, [n].
        coverage: in (0, 1).

    Returns:
        A score, or `ALL_CLASSES` where n is below `images_needed`.

    Raises:
        CalibrationError: the coverage is out of range, or a score is not a number.
    """
    _check_coverage(coverage)
    if not np.isfinite(scores).all():
        raise CalibrationError("some scores of the calibration images are not numbers: check the network")
    rank = _rank(len(scores), coverage)
    return ALL_CLASSES if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def per_exit_quantiles(
    scores: npt.NDArray[np.floating], exits: npt.NDArray[np.integer], num_exits: int, coverage: float
) -> npt.NDArray[np.float64]:
    """A quantile for each exit, from the images that take it, so that the guarantee holds at each exit.

    Args:
        scores: of n calibration images, [n].
        exits: the exit that each takes, 0 to G, [n].
        num_exits: G + 1.
        coverage: in (0, 1).

    Returns:
        [G + 1]; `ALL_CLASSES` at an exit that fewer than `images_needed` take.

    Raises:
        CalibrationError: the coverage is out of range, a score is not a number, or an exit does not exist.
    """
    if exits.shape != scores.shape or not ((exits >= 0) & (exits < num_exits)).all():
        raise CalibrationError(f"{len(scores)} images need an exit each, from 0 to {num_exits - 1}")
    return np.array([conformal_quantile(scores[exits == index], coverage) for index in range(num_exits)])


def set_quantiles(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    exits: npt.NDArray[np.integer],
    num_exits: int,
    coverage: float,
    score: SetScore,
) -> npt.NDArray[np.float64]:
    """The quantiles that guarantee the coverage at each exit.

    Args:
        probabilities: of n calibration images at the exit taken, [n, K].
        labels: class indices, [n].
        exits: the exit that each takes, 0 to G, [n].
        num_exits: G + 1.
        coverage: in (0, 1).
        score: which.

    Returns:
        [G + 1]; `ALL_CLASSES` at an exit that too few images take.

    Raises:
        CalibrationError: as `per_exit_quantiles`, or a label is no class index.
    """
    return per_exit_quantiles(of_label(class_scores(probabilities, score), labels), exits, num_exits, coverage)


def prediction_sets(
    probabilities: npt.NDArray[np.floating], quantiles: float | npt.NDArray[np.floating], score: SetScore
) -> npt.NDArray[np.bool_]:
    """Which classes are in the set of each image; the most probable one always is. NaN excludes no class.

    Args:
        probabilities: of new images at the exit taken, [N, K].
        quantiles: one for all, or that of the exit of each image, [N].
        score: that of the quantiles.

    Returns:
        [N, K].
    """
    sets = ~(class_scores(probabilities, score) > np.asarray(quantiles, np.float64).reshape(-1, 1))
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return np.asarray(sets)


def coverage_of(sets: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer]) -> float:
    """Share of the images whose set holds the true class: sets [N, K] and labels [N].

    Raises:
        CalibrationError: a label is no class index.
    """
    return float(of_label(sets.astype(np.float64), labels).mean())


def images_needed(coverage: float) -> int:
    """The fewest calibration images with which a quantile excludes any class.

    Raises:
        CalibrationError: the coverage does not lie between 0 and 1.
    """
    _check_coverage(coverage)
    needed = max(1, math.ceil(coverage / (1 - coverage)))
    return needed - 1 if needed > 1 and _rank(needed - 1, coverage) < needed else needed


def _rank(count: int, coverage: float) -> int:
    """Rank of the conformal quantile among n scores, 1 to n + 1."""
    return math.ceil((count + 1) * coverage * (1 - _ROUNDING))


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise CalibrationError(f"the coverage must lie between 0 and 1, not {coverage:g}")
