"""Signals by which a sample may leave, other than the learned gate: they stand in its place in the exit rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gfnet_dynn.exits.arrays import ExitArrays


def by_max_probability(arrays: ExitArrays) -> ExitArrays:
    """The plain rule: each early exit's largest softmax probability in place of its gate.

    Whatever a learned gate is worth shows beside it.

    Args:
        arrays: outputs of all exits.

    Returns:
        The same, but for `gates`, [N, G].
    """
    logits = arrays.logits[:, :-1].astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    return replace(arrays, gates=(1 / shifted.sum(axis=2)).astype(np.float32))
