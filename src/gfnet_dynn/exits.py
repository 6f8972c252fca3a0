"""When an image exits, and what that means for accuracy and cost. NumPy only: the runtime uses it too.

An image exits at the first exit l whose confidence score g_l reaches the threshold τ_l, otherwise at the final exit.
Training, evaluation, export and runtime all use this rule. A score, the learned gate or an alternative to it, is a
number from 0 to 1 for each image at each early exit; a larger one means more confidence. It uses the outputs of that
exit and of earlier ones only, so the runtime computes it exactly as evaluation does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError, ThresholdError
from gfnet_dynn.wording import counted

NEVER = math.inf
"""A threshold that no score reaches: with it at every exit, each image passes the full network."""

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, NEVER)
"""From the first exit for all images to the full network; denser where most gates lie."""

PLAIN_THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, NEVER)
"""The same for max-softmax."""

_ROUNDING = 1e-9  # far below one image's part of any split: 3 · 0.01 is below 0.03 in binary


def should_exit(gate: Any, threshold: float) -> Any:
    """Whether images stop at one exit: confidence scores [N], an array or tensor of float32 → booleans [N].

    τ_l is compared in the score's own precision. An image whose score is not a number continues.
    """
    return gate >= threshold


def per_exit(threshold: float | Sequence[float], num_gates: int) -> tuple[float, ...]:
    """One threshold for each of G early exits, from one for all or one each: 0 stops every image there, `NEVER` none.

    Raises ThresholdError: not G thresholds, or one that is neither in 0 to 1 nor `NEVER`.
    """
    if isinstance(threshold, Sequence | np.ndarray):
        values = tuple(float(value) for value in threshold)
    else:
        values = (float(threshold),) * num_gates
    if len(values) != num_gates:
        raise ThresholdError(
            f"{counted(len(values), 'threshold')} for a network with {num_gates} early exits: give one, or one for each"
        )
    for value in values:
        if not 0 <= value <= 1 and value != NEVER:
            raise ThresholdError(f"a threshold is a confidence score from 0 to 1 (or inf: never exit), not {value:g}")
    return values


def first_exit(gates: npt.NDArray[np.float32], threshold: float | Sequence[float]) -> npt.NDArray[np.intp]:
    """The exit that each image takes, 0 to G, the final exit: confidence scores [N, G] → [N]."""
    thresholds = per_exit(threshold, gates.shape[1])
    stops = np.ones((len(gates), len(thresholds) + 1), dtype=bool)
    for exit_index, value in enumerate(thresholds):
        stops[:, exit_index] = should_exit(gates[:, exit_index], value)
    return np.asarray(stops.argmax(axis=1))


@dataclass(frozen=True)
class ExitArrays:
    """The outputs of all exits for every image of a split: from them any exit policy is evaluated offline."""

    logits: npt.NDArray[np.float32]  # float32 [N, G + 1, K], the final classifier last
    gates: npt.NDArray[np.float32]  # float32 [N, G], probabilities
    labels: npt.NDArray[np.int64]  # int64 [N], class indices
    distances: npt.NDArray[np.float32] | None = None  # float32 [N], from the training images; None: not computed

    def __post_init__(self) -> None:
        samples, exits, _ = self.logits.shape
        one_each = [each.shape for each in (self.labels, self.distances) if each is not None]
        if self.gates.shape != (samples, exits - 1) or set(one_each) != {(samples,)}:
            raise ValueError(
                f"shapes disagree: {self.logits.shape=}, {self.gates.shape=}, labels, distances {one_each}"
            )

    def take(self, rows: npt.NDArray[np.intp]) -> ExitArrays:
        """Some of the images, by index."""
        distances = None if self.distances is None else self.distances[rows]
        return ExitArrays(self.logits[rows], self.gates[rows], self.labels[rows], distances)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Whether all outputs of each image are numbers, [N]."""
        known = True if self.distances is None else np.isfinite(self.distances)
        return np.asarray(np.isfinite(self.logits).all(axis=(1, 2)) & np.isfinite(self.gates).all(axis=1) & known)

    @property
    def predictions(self) -> npt.NDArray[np.intp]:
        """Class index of each exit, [N, G + 1]."""
        return np.asarray(self.logits.argmax(axis=2))

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each exit predicts the label, [N, G + 1]."""
        return np.asarray(self.predictions == self.labels[:, None])


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, computed in float64: logits [..., K] → [..., K]."""
    wide = np.asarray(logits, np.float64)
    exponentials = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class OperatingPoint:
    """The network at one setting of the thresholds."""

    thresholds: tuple[float, ...]  # τ_l for each gate, [G]
    exits: npt.NDArray[np.intp]  # the exit that each image takes, [N]
    predictions: npt.NDArray[np.intp]  # class index of each image, [N]
    accuracy: float  # top-1 of the gated output, 0 to 1
    shares: tuple[float, ...]  # share of the images that takes each exit, [G + 1]
    mean_cost: float  # mean over the images of the cost of the exit taken, in the unit of the given costs


def operate(arrays: ExitArrays, costs: Sequence[float], threshold: float | Sequence[float]) -> OperatingPoint:
    """The network with one threshold for all exits, or one each; costs are of each exit, [G + 1], in any unit."""
    exits = first_exit(arrays.gates, threshold)
    rows = np.arange(len(exits))
    return OperatingPoint(
        thresholds=per_exit(threshold, arrays.gates.shape[1]),
        exits=exits,
        predictions=arrays.predictions[rows, exits],
        accuracy=float(arrays.correct[rows, exits].mean()),
        shares=tuple(float((exits == index).mean()) for index in range(arrays.logits.shape[1])),
        mean_cost=float(np.asarray(costs, dtype=np.float64)[exits].mean()),
    )


def sweep(
    arrays: ExitArrays, costs: Sequence[float], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[OperatingPoint, ...]:
    """The network at each of several thresholds, the same for all exits."""
    return tuple(operate(arrays, costs, threshold) for threshold in thresholds)


def last_within(points: Sequence[OperatingPoint], allowed_loss: float) -> OperatingPoint:
    """The cheapest setting up to which at most `allowed_loss` of the images disagree with the full network.

    Disagreement is never below the loss of accuracy, and varies less on few images, where gains hide losses. Settings
    beyond the first that disagrees too often are not considered. The choice has no guarantee on other images: use the
    selection split, never the images that results are reported on. The points are those of `sweep`, from the cheapest
    setting to the full network.
    """
    full, chosen = points[-1].predictions, points[-1]
    for point in reversed(points):
        if float((point.predictions != full).mean()) > allowed_loss + _ROUNDING:
            break
        chosen = point
    return chosen


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
