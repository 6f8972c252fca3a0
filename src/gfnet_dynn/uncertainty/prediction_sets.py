"""Prediction sets: the classes that an image may be of, so many that the true one is among them as often as guaranteed.

Split conformal prediction scores how strange each class is for an image, and keeps the classes that are no stranger
than the true ones of calibration images were. Sources: Sadinle et al., Least ambiguous set-valued classifiers with
bounded error levels, arXiv 1609.00451 (`least-ambiguous`); Romano et al., Classification with valid and adaptive
coverage, arXiv 2006.02544 (`adaptive`, here without its randomisation, which only adds classes); Vovk, Conditional
validity of inductive conformal predictors, arXiv 1209.2673 (a guarantee for each exit).

The guarantee is the mean over calibration images and the new image, if all come alike. Nothing that decides scores or
exits may have been chosen on the calibration images: no weights, no thresholds, no temperature.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.uncertainty.reliability import of_label

SetScore = Literal["least-ambiguous", "adaptive"]
"""One less a class's probability: the smallest sets; or the probability of all classes down to it: hard images get
more classes and easy ones fewer, so that both are covered more evenly."""

SET_SCORES: tuple[SetScore, ...] = ("least-ambiguous", "adaptive")

ALL_CLASSES = math.inf
"""A quantile that leaves no class out."""

_ROUNDING = 1e-12  # 0.55 · 100 is above 55 in binary, which would take the next score


def class_scores(probabilities: npt.NDArray[np.floating], score: SetScore) -> npt.NDArray[np.float64]:
    """How strange each class is for each image: [N, K] → [N, K].

    Equal probabilities are taken in the order of the classes.
    """
    wide = probabilities.astype(np.float64)
    if score == "least-ambiguous":
        return np.asarray(1 - wide)
    order = np.argsort(-wide, axis=1, kind="stable")
    scores = np.empty_like(wide)
    np.put_along_axis(scores, order, np.take_along_axis(wide, order, axis=1).cumsum(axis=1), axis=1)
    return scores


def label_scores(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], score: SetScore
) -> npt.NDArray[np.float64]:
    """How strange the true class is for each image: probabilities [N, K] and labels [N] → [N].

    Raises:
        CalibrationError: a label is no class index.
    """
    return of_label(class_scores(probabilities, score), labels)


def conformal_quantile(scores: npt.NDArray[np.floating], coverage: float) -> float:
    """The ⌈(n + 1) · coverage⌉-th smallest score: a new one is at most that with probability `coverage` or more.

    Args:
        scores: of n calibration images, [n].
        coverage: what is guaranteed, in (0, 1).

    Returns:
        A score, or `ALL_CLASSES` where n is below `images_needed`.

    Raises:
        CalibrationError: the coverage makes no sense, or a score is not a number.
    """
    _check_coverage(coverage)
    if not np.isfinite(scores).all():
        raise CalibrationError("some scores of the calibration images are not numbers: check the network")
    rank = _rank(len(scores), coverage)
    return ALL_CLASSES if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def per_exit_quantiles(
    scores: npt.NDArray[np.floating], exits: npt.NDArray[np.integer], num_exits: int, coverage: float
) -> npt.NDArray[np.float64]:
    """A quantile for each exit, from the images that leave there, so that the guarantee holds at each exit by itself.

    Args:
        scores: of n calibration images, [n].
        exits: where each leaves, 0 to G, [n].
        num_exits: G + 1.
        coverage: what is guaranteed, in (0, 1).

    Returns:
        [G + 1]; `ALL_CLASSES` at an exit that fewer than `images_needed` leave.

    Raises:
        CalibrationError: the coverage makes no sense, a score is not a number, or an exit does not exist.
    """
    if exits.shape != scores.shape or not ((exits >= 0) & (exits < num_exits)).all():
        raise CalibrationError(f"{len(scores)} images need an exit each, from 0 to {num_exits - 1}")
    return np.array([conformal_quantile(scores[exits == index], coverage) for index in range(num_exits)])


def set_threshold(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], coverage: float, score: SetScore
) -> float:
    """The quantile that guarantees the coverage over all images, wherever they leave.

    Args:
        probabilities: of n calibration images at the exit taken, [n, K].
        labels: class indices, [n].
        coverage: what is guaranteed, in (0, 1).
        score: which.

    Raises:
        CalibrationError: as `conformal_quantile`, or a label is no class index.
    """
    return conformal_quantile(label_scores(probabilities, labels, score), coverage)


def set_thresholds(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    exits: npt.NDArray[np.integer],
    num_exits: int,
    coverage: float,
    score: SetScore,
) -> npt.NDArray[np.float64]:
    """The quantiles that guarantee the coverage at each exit by itself.

    Args:
        probabilities: of n calibration images at the exit taken, [n, K].
        labels: class indices, [n].
        exits: where each leaves, 0 to G, [n].
        num_exits: G + 1.
        coverage: what is guaranteed, in (0, 1).
        score: which.

    Returns:
        [G + 1]; `ALL_CLASSES` at an exit that too few leave.

    Raises:
        CalibrationError: as `per_exit_quantiles`, or a label is no class index.
    """
    return per_exit_quantiles(label_scores(probabilities, labels, score), exits, num_exits, coverage)


def prediction_sets(
    probabilities: npt.NDArray[np.floating], quantiles: float | npt.NDArray[np.floating], score: SetScore
) -> npt.NDArray[np.bool_]:
    """The classes that each image may be of.

    The most probable class always belongs. What is not a number excludes no class.

    Args:
        probabilities: of new images at the exit taken, [N, K].
        quantiles: one for all, or one for each image, [N]: that of its exit.
        score: the one that the quantiles were made with.

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


def mean_size(sets: npt.NDArray[np.bool_]) -> float:
    """Mean number of classes in a set, 1 to K: sets [N, K]."""
    return float(sets.sum(axis=1).mean())


def images_needed(coverage: float) -> int:
    """The fewest calibration images with which a coverage can be guaranteed by leaving any class out.

    Raises:
        CalibrationError: the coverage does not lie between 0 and 1.
    """
    _check_coverage(coverage)
    needed = max(1, math.ceil(coverage / (1 - coverage)))
    return needed - 1 if needed > 1 and _rank(needed - 1, coverage) < needed else needed


def _rank(count: int, coverage: float) -> int:
    """Of the score that bounds a new one with the coverage guaranteed, 1 to n + 1."""
    return math.ceil((count + 1) * coverage * (1 - _ROUNDING))


def _check_coverage(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise CalibrationError(f"the coverage must lie between 0 and 1, as 0.9 does, not {coverage:g}")
