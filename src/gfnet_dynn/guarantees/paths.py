"""Sequences of thresholds from the full network towards the first exit, along which a guarantee is tested.

A path must be fixed before the images that it is tested on are seen: the one with the same threshold at all exits is;
others are found on images apart from those.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.guarantees.risk import Risk

Path = npt.NDArray[np.float64]
"""[T, G]: thresholds of each exit at each step; the first step lets none leave, or as few as may be."""

STEPS = (NEVER, *(index / 1000 for index in range(1000, -1, -1)))
"""The same for all exits."""

_LEVELS = 40  # values of each exit's score among which a step moves


def same_for_all(num_gates: int, steps: Sequence[float] = STEPS) -> Path:
    """One λ for all exits, falling: [T, G]."""
    return np.repeat(np.array(steps, np.float64)[:, None], num_gates, axis=1)


def by_deadline(path: Path, last: int) -> Path:
    """The same, but that every image leaves at exit `last` at the latest, 0-based; [T, G]."""
    ended = path.copy()
    ended[:, last:] = 0.0
    return ended


def exits_along(gates: npt.NDArray[np.float32], path: Path) -> npt.NDArray[np.int8]:
    """Where each image leaves at each step, by the exit rule.

    Args:
        gates: scores, [N, G]; where one is not a number, the image stays.
        path: [T, G].

    Returns:
        [N, T], 0 to G.
    """
    limits = path.astype(np.float32)
    exits = np.full((len(gates), len(path)), gates.shape[1], np.int8)
    for index in range(gates.shape[1] - 1, -1, -1):
        exits[gates[:, index, None] >= limits[None, :, index]] = index
    return exits


def losses_at(risk: Risk, exits: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """The loss of each image where it leaves: [N, T] → [N, T]."""
    return np.asarray(np.take_along_axis(risk.losses, exits.astype(np.intp), axis=1))


def means_at(values: npt.NDArray[np.float64], exits: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """The mean over the images of what each exit means for each: [N, G + 1] and [N, T] → [T].

    As products of matrices, which is four times as fast as to pick each image's own value.
    """
    sums = np.zeros(exits.shape[1])
    for index in range(values.shape[1]):
        sums += values[:, index].astype(np.float32) @ (exits == index).astype(np.float32)
    return sums / len(values)


def greedy_path(arrays: ExitArrays, risk: Risk, costs: Sequence[float]) -> Path:
    """A path on which each exit has its own threshold: always the one falls on that saves most for what it risks.

    How much it would save is judged at every lower level of its score, not at the next alone: a few images on which an
    exit is surely wrong must not hide all those below. It then falls level by level to the best of them.

    Args:
        arrays: scores in place of gates, over images that nothing will be tested on; [N, G] of them.
        risk: its losses on those images.
        costs: cost up to and including each exit, [G + 1], ascending, in any unit.

    Returns:
        [T, G], from no image leaving to all leaving at the first exit.
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
        # One image's loss beside what is seen to be lost: on few images most moves seem to cost nothing.
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
