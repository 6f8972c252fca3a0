"""The exit rule. Training-time evaluation, testing, export and runtime all use this one.

A sample leaves at the first exit l whose gate g_l reaches the threshold τ_l, else at the final classifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import ThresholdError

NEVER = math.inf
"""A threshold that no gate reaches: with it at every exit, each sample goes through the full network."""


class _Comparable(Protocol):
    def __ge__(self, other: float, /) -> Any: ...


_Gate = TypeVar("_Gate", bound=_Comparable)


def should_exit(gate: _Gate, threshold: float) -> Any:
    """Whether samples leave at one exit.

    A gate that is not a number does not leave: the next exit decides.

    Args:
        gate: probabilities that the exit's prediction is good enough, [N]; an array or tensor of float32.
        threshold: τ_l, compared in the gate's own precision.

    Returns:
        A boolean array or tensor [N].
    """
    return gate >= threshold


def per_exit(threshold: float | Sequence[float], num_gates: int) -> tuple[float, ...]:
    """One threshold for each gate, from one number for all or one number each.

    Args:
        threshold: τ; 0 leaves at the first exit, `NEVER` at none.
        num_gates: G, the number of exits before the final classifier.

    Raises:
        ThresholdError: another number of thresholds than gates, a negative one or none.
    """
    if isinstance(threshold, Sequence | np.ndarray):
        values = tuple(float(value) for value in threshold)
    else:
        values = (float(threshold),) * num_gates
    if len(values) != num_gates:
        raise ThresholdError(
            f"{len(values)} thresholds for a network with {num_gates} gates: give one, or one for each"
        )
    if any(math.isnan(value) or value < 0 for value in values):
        raise ThresholdError(f"thresholds are gate probabilities from 0 to 1, not {values}")
    return values


def first_exit(gates: npt.NDArray[np.float32], threshold: float | Sequence[float]) -> npt.NDArray[np.intp]:
    """The exit at which each sample leaves.

    Args:
        gates: [N, G], as the network gives them.
        threshold: one for all exits or one each.

    Returns:
        [N], 0 to G; G is the final classifier.
    """
    thresholds = per_exit(threshold, gates.shape[1])
    left = np.ones((len(gates), len(thresholds) + 1), dtype=bool)
    for exit_index, value in enumerate(thresholds):
        left[:, exit_index] = should_exit(gates[:, exit_index], value)
    return np.asarray(left.argmax(axis=1))
