"""Compares the confidence scores at equal cost, on images that none of them was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.calibration.fitting import fit, split
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.scores import SCORES, Score, by_score
from gfnet_dynn.guarantees.budget import levels
from gfnet_dynn.guarantees.paths import exits_along, values_at

FIT_SHARE = 0.3


@dataclass(frozen=True)
class Ranked:
    """One score at one mean cost.

    Attributes:
        score: which.
        accuracy: at that cost, 0 to 1.
        against_gate: that minus the accuracy of the learned gate.
        standard_error: of that difference, over the images.
    """

    score: Score
    accuracy: float
    against_gate: float
    standard_error: float


def rank_scores(
    arrays: ExitArrays, costs: Sequence[float], mean_cost: float, seed: int = 0, scores: Sequence[Score] = SCORES
) -> list[Ranked]:
    """All scores at the same mean cost, the best first.

    Each score's threshold is the one with that mean cost, which needs no labels; between two thresholds, images are
    divided in proportion.

    Args:
        arrays: all exits over images that nothing was trained or chosen on.
        costs: cost up to and including each exit, [G + 1].
        mean_cost: in the same unit.
        seed: of the division into images for fitting and for comparing.
        scores: which.
    """
    fitting, compared = split(arrays, round(FIT_SHARE * len(arrays.labels)), seed)
    prices, ranked = np.asarray(costs, np.float64), []
    by_gate = _correct_at(compared, prices, mean_cost)
    for score in scores:
        each = _correct_at(by_score(compared, score, fit(fitting, score)), prices, mean_cost)
        difference = each - by_gate
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
        ranked.append(Ranked(score, float(each.mean()), float(difference.mean()), error))
    return sorted(ranked, key=lambda each: -each.accuracy)


def _correct_at(arrays: ExitArrays, costs: npt.NDArray[np.float64], mean_cost: float) -> npt.NDArray[np.float64]:
    """Whether each image is correct at a mean cost, [N]; between two thresholds, a mean of both."""
    exits = exits_along(arrays.gates, levels([arrays]))
    means = costs[exits].mean(axis=0)
    correct = values_at(arrays.correct, exits).astype(np.float64)
    # The means fall, unless measured costs of neighbouring exits are in the wrong order.
    cheap = int(np.argmax(means <= mean_cost)) if means.min() <= mean_cost else int(means.argmin())
    if cheap == 0 or means[cheap] > mean_cost:
        return correct[:, cheap]
    share = (mean_cost - means[cheap]) / (means[cheap - 1] - means[cheap])
    return np.asarray(share * correct[:, cheap - 1] + (1 - share) * correct[:, cheap])
