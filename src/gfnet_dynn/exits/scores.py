"""Confidence scores: the learned gate, and alternatives to it in the exit rule.

A score is a number from 0 to 1 for each image at each early exit; a larger one means more confidence. It uses the
outputs of that exit and of earlier ones only, so the runtime computes it exactly as evaluation does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.rule import ExitArrays, softmax

Score = Literal["gate", "max-softmax", "margin", "entropy", "patience", "neighbours"]
"""The number that is compared with the thresholds.

`gate`: the learned gate (Regol et al., Jointly-learned exit and inference for dynamic neural networks,
arXiv 2310.09163). `max-softmax`: the largest softmax probability. `margin`: the largest minus the second largest.
`entropy`: 1 minus the entropy of the softmax, divided by its maximum. `patience`: n / (n + 1), where the last n exits,
this one included, predict the same class (Zhou et al., BERT loses patience, arXiv 2006.04152). `neighbours`: accuracy
of images with a similar largest probability, from a table (after the bins of performance-controlled early exiting,
PCEE).
"""

SCORES: tuple[Score, ...] = get_args(Score)

Float32s = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AccuracyTable:
    """Accuracy of one exit by its largest probability."""

    edges: tuple[float, ...]  # ascending inner edges of the bins, [B − 1]
    accuracies: tuple[float, ...]  # in each bin, 0 to 1, [B]

    def __post_init__(self) -> None:
        if len(self.accuracies) != len(self.edges) + 1 or list(self.edges) != sorted(self.edges):
            raise CalibrationError("a table of accuracies has bins that are not in order: calibrate anew")

    def look_up(self, confidences: Float32s) -> Float32s:
        """[N] → [N]; NaN stays NaN, as it would fall into the most confident bin."""
        bins = np.searchsorted(np.array(self.edges, np.float32), confidences, side="right")
        return np.where(np.isnan(confidences), confidences, np.array(self.accuracies, np.float32)[bins])


@dataclass(frozen=True, slots=True)
class Fitted:
    """Fitted parameters of a score; from other images than those that thresholds are chosen on."""

    temperatures: tuple[float, ...] = ()  # divisors of the logits of each exit, the final one last, [G + 1]; empty: 1
    tables: tuple[AccuracyTable, ...] = ()  # for `neighbours`, of each early exit, [G]

    def __post_init__(self) -> None:
        if not all(value > 0 for value in self.temperatures):
            raise CalibrationError(f"temperatures are positive, not {list(self.temperatures)}: calibrate anew")

    def scaled(self, exits: Any, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Logits [..., K], divided by the temperature of their exit: one index for all, one each, or a slice."""
        if not self.temperatures:
            return logits
        return np.asarray(logits / np.array(self.temperatures, logits.dtype)[exits][..., None])


UNFITTED = Fitted()


def max_probability(logits: npt.NDArray[Any]) -> Float32s:
    """The largest softmax probability, computed in float64: logits [..., K] → [...]."""
    return np.asarray(softmax(logits).max(axis=-1).astype(np.float32))


def score_at(
    score: Score,
    fitted: Fitted,
    index: int,
    logits: npt.NDArray[np.float32],
    gate: Float32s,
    earlier: npt.NDArray[np.intp],
) -> Float32s:
    """One score, float32 [B], at one early exit, of index 0 to G − 1.

    It has the logits there, [B, K], the gate, [B], and the classes that earlier exits predict, [B, index].
    """
    if score == "gate":
        return gate
    if score == "patience":
        agreeing = 1 + np.cumprod((earlier == logits.argmax(axis=1)[:, None])[:, ::-1], axis=1).sum(axis=1)
        return np.asarray(agreeing / (agreeing + 1), np.float32)
    scaled = fitted.scaled(index, logits)
    if score == "margin":
        probabilities = np.sort(softmax(scaled), axis=1)
        return np.asarray((probabilities[:, -1] - probabilities[:, -2]).astype(np.float32))
    if score == "entropy":
        probabilities = softmax(scaled)
        entropy = -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))).sum(axis=1)
        # Rounding puts equal probabilities just below 0, which not even a threshold of 0 accepts.
        return np.asarray(np.maximum(1 - entropy / np.log(logits.shape[1]), 0).astype(np.float32))
    confidences = max_probability(scaled)
    return fitted.tables[index].look_up(confidences) if score == "neighbours" else confidences


def by_score(arrays: ExitArrays, score: Score, fitted: Fitted = UNFITTED) -> ExitArrays:
    """The same arrays with another score as `gates`, [N, G]."""
    if score == "gate":
        return arrays
    gates = arrays.gates.copy()
    for index in range(gates.shape[1]):
        before = arrays.predictions[:, :index]
        gates[:, index] = score_at(score, fitted, index, arrays.logits[:, index], arrays.gates[:, index], before)
    return replace(arrays, gates=gates)
