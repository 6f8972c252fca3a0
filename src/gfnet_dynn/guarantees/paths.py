"""Sequences of thresholds from the full network towards the first exit, along which a guarantee is tested.

A path must not depend on the images that it is tested on: the one with the same threshold at all exits does not; others
are found on separate images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits import NEVER, ExitArrays
from gfnet_dynn.guarantees.risk import Risk

Path = npt.NDArray[np.float64]
"""[T, G]: thresholds of each exit at each step; at the first step, no image exits early, or as few as possible."""

STEPS = (NEVER, *(index / 1000 for index in range(1000, -1, -1)))
"""The same for all exits."""

_LEVELS = 40  # values of each exit's score among which a step moves


def same_for_all(num_gates: int, steps: Sequence[float] = STEPS) -> Path:
    """One threshold for all exits, falling: [T, G]."""
    return np.repeat(np.array(steps, np.float64)[:, None], num_gates, axis=1)


def by_deadline(path: Path, last: int) -> Path:
    """The same path, with exit `last`, 0-based, as the last that any image takes; [T, G]."""
    ended = path.copy()
    ended[:, last:] = 0.0
    return ended


def exits_along(gates: npt.NDArray[np.float32], path: Path) -> npt.NDArray[np.int8]:
    """The exit, 0 to G, that each image takes at each step, by the exit rule: [N, G] and [T, G] → [N, T]."""
    limits = path.astype(np.float32)
    exits = np.full((len(gates), len(path)), gates.shape[1], np.int8)
    for index in range(gates.shape[1] - 1, -1, -1):
        exits[gates[:, index, None] >= limits[None, :, index]] = index
    return exits


def values_at(values: npt.NDArray[Any], exits: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
    """The value of each image at the exit taken: [N, G + 1] and [N, T] → [N, T]."""
    return np.asarray(np.take_along_axis(values, exits.astype(np.intp), axis=1))


def means_at(values: npt.NDArray[np.float64], exits: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """The mean of `values_at` over the images, [T]; by matrix products, which is four times as fast."""
    sums = np.zeros(exits.shape[1])
    for index in range(values.shape[1]):
        sums += values[:, index].astype(np.float32) @ (exits == index).astype(np.float32)
    return sums / len(values)


def greedy_path(arrays: ExitArrays, risk: Risk, costs: Sequence[float]) -> Path:
    """A path with a threshold for each exit: each step lowers the one that saves most cost per additional loss.

    The saving is computed at every lower level of an exit's score, not at the next alone: a few confident errors of an
    exit must not hide the images below them. The threshold then falls level by level to the best of these.

    The path, [T, G], goes from no early exit to the first exit for all images. The arrays, with scores as gates, and
    their risk are of images that nothing will be tested on; costs are of each exit, [G + 1], ascending, in any unit.
    """
    gates, price = arrays.gates.astype(np.float64), np.asarray(costs, np.float64) / costs[-1]
    count, num_gates = gates.shape
    levels = [_levels(column) for column in gates.T]
    reached = [0] * num_gates  # position of each exit's next threshold among its levels
    now = np.full(num_gates, NEVER)
    steps, spent, lost = [now.copy()], float(price[-1]), float(risk.losses[:, -1].mean())
    while moves := [(index, to) for index in range(num_gates) for to in range(reached[index], len(levels[index]))]:
        tried = np.repeat(now[None], len(moves), axis=0)
        tried[np.arange(len(moves)), [index for index, _ in moves]] = [levels[index][to] for index, to in moves]
        exits = exits_along(arrays.gates, tried)
        costs_then, losses_then = means_at(np.repeat(price[None], count, axis=0), exits), means_at(risk.losses, exits)
        # One image's loss is added: on few images most moves seem to lose nothing.
        gain = (spent - costs_then) / (np.maximum(losses_then - lost, 0.0) + 1 / count)
        best = int(gain.argmax())
        index, to = moves[best]
        for level in levels[index][reached[index] : to + 1]:
            now[index] = level
            steps.append(now.copy())
        reached[index] = to + 1
        spent, lost = float(costs_then[best]), float(losses_then[best])
    return np.array(steps)


def _levels(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Falling thresholds of one exit: quantiles of its score, and 0 at the end."""
    finite = scores[np.isfinite(scores)]
    inner = np.quantile(finite, np.arange(_LEVELS - 1, 0, -1) / _LEVELS) if len(finite) else np.empty(0)
    falling = np.unique(inner)[::-1]
    return np.append(falling[falling > 0], 0.0)
