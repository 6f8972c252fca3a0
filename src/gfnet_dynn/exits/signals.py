"""Signals by which a sample may leave, other than the learned gate: they stand in its place in the exit rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.arrays import ExitArrays

Signal = Literal["gate", "max-probability"]
"""What is compared with the thresholds: the learned gate, or the largest softmax probability (the plain rule)."""

SIGNALS: tuple[Signal, ...] = ("gate", "max-probability")


def max_probability(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The largest softmax probability, computed in float64: logits [..., K] → [...]."""
    wide = logits.astype(np.float64)
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray((1 / shifted.sum(axis=-1)).astype(np.float32))


def by_max_probability(arrays: ExitArrays) -> ExitArrays:
    """The plain rule: each early exit's largest softmax probability in place of its gate.

    Whatever a learned gate is worth shows beside it.

    Args:
        arrays: outputs of all exits.

    Returns:
        The same, but for `gates`, [N, G].
    """
    return replace(arrays, gates=max_probability(arrays.logits[:, :-1]))
