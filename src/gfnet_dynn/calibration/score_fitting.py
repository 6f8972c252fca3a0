"""Fits the parameters of confidence scores, on images that no threshold is chosen or tested on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.scores import UNFITTED, AccuracyTable, Fitted, Score, max_probability
from gfnet_dynn.uncertainty.reliability import fit_temperature

SCALED: frozenset[Score] = frozenset({"max_softmax", "margin", "entropy", "neighbours"})
"""Scores computed from probabilities, which need temperatures."""

_MOST_BINS = 10
_IMAGES_A_BIN = 15


def fit(arrays: ExitArrays, score: Score) -> Fitted:
    """Temperatures of all exits, and tables of accuracy where the score needs them.

    Args:
        arrays: all exits over N images, N at least 1.
        score: which.
    """
    if score not in SCALED:
        return UNFITTED
    exits = arrays.logits.shape[1]
    temperatures = tuple(fit_temperature(arrays.logits[:, index], arrays.labels) for index in range(exits))
    if score != "neighbours":
        return Fitted(temperatures)
    scaled = Fitted(temperatures)
    tables = []
    for index in range(exits - 1):
        confidences = max_probability(scaled.scaled(index, arrays.logits[:, index]))
        tables.append(_accuracy_table(confidences.astype(np.float64), arrays.correct[:, index]))
    return Fitted(temperatures, tuple(tables))


def _accuracy_table(confidences: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> AccuracyTable:
    """Bins of equal mass; accuracies that never fall with rising confidence, to smooth the noise of few images."""
    bins = max(1, min(_MOST_BINS, math.isqrt(len(correct)), len(correct) // _IMAGES_A_BIN))
    edges = np.unique(np.quantile(confidences, np.arange(1, bins) / bins)).astype(np.float32)
    places = np.searchsorted(edges, confidences.astype(np.float32), side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    hits = np.bincount(places, weights=correct, minlength=len(edges) + 1)
    filled = counts > 0  # equal confidences leave bins empty, which would count as half correct and lift those above
    edges, counts, hits = edges[filled[:-1]], counts[filled], hits[filled]
    # Half an image correct and half wrong are added: a tiny bin is neither 0 nor 1.
    accuracies = np.maximum.accumulate((hits + 0.5) / (counts + 1))
    return AccuracyTable(tuple(map(float, edges)), tuple(map(float, accuracies)))
