"""Divides the calibration images, and fits confidence scores on a part on which no threshold is chosen or tested.

No image serves two purposes of which one would bias the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.scores import UNFITTED, AccuracyTable, Fitted, Score, max_probability
from gfnet_dynn.uncertainty.reliability import fit_temperature

SCALED: frozenset[Score] = frozenset({"max_softmax", "margin", "entropy", "neighbours"})
"""Scores computed from probabilities, which need temperatures."""

_FIT_SHARE = _LATER_SHARE = 0.3
_MOST_BINS = 10
_IMAGES_A_BIN = 15

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Parts:
    """The division of the images, as rows of the outputs.

    Attributes:
        fit: score and path are fitted on these.
        test: thresholds are found and tested on these.
        later: prediction sets and the rule for unknown images are made from these.
    """

    fit: Rows
    test: Rows
    later: Rows


def divide(images: int, request: CalibrationRequest, *, labelled: bool = True) -> Parts:
    """A random division, the same for the same number and seed; without labels no score is fitted."""
    fits = request.per_exit or (request.score in SCALED and labelled)
    later = request.coverage is not None or request.false_alarms is not None
    fit_end = round(_FIT_SHARE * images) if fits else 0
    later_start = images - (round(_LATER_SHARE * images) if later else 0)
    return Parts(*_cut(images, [fit_end, later_start], request.seed))


def split(arrays: ExitArrays, first: int, seed: int) -> tuple[ExitArrays, ExitArrays]:
    """So many images drawn at random, and the others, each in their order."""
    drawn, others = _cut(len(arrays.labels), [first], seed)
    return arrays.take(drawn), arrays.take(others)


def _cut(images: int, places: list[int], seed: int) -> list[Rows]:
    shuffled = np.random.default_rng(seed).permutation(images).astype(np.intp)
    return [np.sort(part) for part in np.split(shuffled, places)]


def fit(arrays: ExitArrays, score: Score) -> Fitted:
    """Temperatures of all exits, and tables of accuracy where the score needs them; from at least one image."""
    if score not in SCALED:
        return UNFITTED
    exits = arrays.logits.shape[1]
    scaled = Fitted(tuple(fit_temperature(arrays.logits[:, index], arrays.labels) for index in range(exits)))
    if score != "neighbours":
        return scaled
    tables = []
    for index in range(exits - 1):
        confidences = max_probability(scaled.scaled(index, arrays.logits[:, index]))
        tables.append(_accuracy_table(confidences, arrays.correct[:, index]))
    return Fitted(scaled.temperatures, tuple(tables))


def _accuracy_table(confidences: npt.NDArray[np.float32], correct: npt.NDArray[np.bool_]) -> AccuracyTable:
    """Bins of equal mass; accuracies that never fall with rising confidence, to smooth the noise of few images."""
    bins = max(1, min(_MOST_BINS, math.isqrt(len(correct)), len(correct) // _IMAGES_A_BIN))
    quantiles = np.quantile(confidences.astype(np.float64), np.arange(1, bins) / bins)
    edges = np.unique(quantiles).astype(np.float32)
    places = np.searchsorted(edges, confidences, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    hits = np.bincount(places, weights=correct, minlength=len(edges) + 1)
    filled = counts > 0  # equal confidences leave bins empty, which would count as half correct and lift those above
    edges, counts, hits = edges[filled[:-1]], counts[filled], hits[filled]
    # Half an image correct and half wrong are added: a tiny bin is neither 0 nor 1.
    accuracies = np.maximum.accumulate((hits + 0.5) / (counts + 1))
    return AccuracyTable(tuple(map(float, edges)), tuple(map(float, accuracies)))
