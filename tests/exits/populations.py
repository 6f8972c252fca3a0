"""A population of images whose every risk is known, to draw calibration sets from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.guarantees.paths import exits_along, same_for_all, values_at
from gfnet_dynn.guarantees.risk import RiskName, risk_of

SIZE = 40_000
CLASSES = 5


@dataclass(frozen=True)
class Population:
    """All images there are; a draw with replacement is an independent sample."""

    arrays: ExitArrays

    def draw(self, count: int, seed: int) -> ExitArrays:
        rows = np.random.default_rng(seed).integers(0, SIZE, count)
        return ExitArrays(self.arrays.logits[rows], self.arrays.gates[rows], self.arrays.labels[rows])

    def true_risks(self, name: RiskName, grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The mean over the whole population at each threshold: no estimate."""
        exits = exits_along(self.arrays.gates, same_for_all(3, grid.tolist()))
        return np.asarray(values_at(risk_of(self.arrays, name).losses, exits).mean(axis=0))


@cache
def make_population() -> Population:
    """Later exits are better, hard images are worse, gates know it roughly."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, SIZE)
    hardness = generator.beta(1.2, 3.0, SIZE)
    logits = np.zeros((SIZE, 4, CLASSES), np.float32)
    gates = np.zeros((SIZE, 3), np.float32)
    for index, skill in enumerate((0.9, 0.6, 0.4, 0.3)):
        right = generator.random(SIZE) > skill * hardness**1.5
        said = np.where(right, labels, (labels + generator.integers(1, CLASSES, SIZE)) % CLASSES)
        logits[np.arange(SIZE), index, said] = 3
        if index < 3:
            gates[:, index] = np.clip(1 - hardness + generator.normal(0, 0.1, SIZE), 0, 1) ** (1 + skill)
    return Population(ExitArrays(logits, gates, labels))
