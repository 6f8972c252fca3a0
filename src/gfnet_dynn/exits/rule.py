"""Outputs of every exit, and the exit rule: training, evaluation, export and runtime all use this one.

An image exits at the first exit l whose confidence score g_l reaches the threshold τ_l, otherwise at the final exit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import ThresholdError
from gfnet_dynn.wording import counted

NEVER = math.inf
"""A threshold that no score reaches: with it at every exit, each image passes the full network."""


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

    def __post_init__(self) -> None:
        samples, exits, _ = self.logits.shape
        if self.gates.shape != (samples, exits - 1) or self.labels.shape != (samples,):
            raise ValueError(f"shapes disagree: {self.logits.shape=}, {self.gates.shape=}, {self.labels.shape=}")

    def take(self, rows: npt.NDArray[np.intp]) -> ExitArrays:
        """Some of the images, by index."""
        return ExitArrays(self.logits[rows], self.gates[rows], self.labels[rows])

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Whether all outputs of each image are numbers, [N]."""
        return np.asarray(np.isfinite(self.logits).all(axis=(1, 2)) & np.isfinite(self.gates).all(axis=1))

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
