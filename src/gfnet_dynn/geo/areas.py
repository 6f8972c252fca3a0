"""Area of each class, and how much of it the policy's guarantee leaves open.

A guarantee bounds the share of images that early exits harm, for independent images. Neighbouring cells share pixels
and resemble each other, so they are not independent: blocks of cells are taken as the draws instead. Within a block
any dependence is allowed for; between blocks it is neglected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.geo.blend import NODATA, CellRows
from gfnet_dynn.geo.grid import Grid
from gfnet_dynn.geo.ground import Ground
from gfnet_dynn.geo.legend import Entry
from gfnet_dynn.geo.result import ClassArea
from gfnet_dynn.uncertainty.intervals import CONFIDENCE, falling_root

BLOCK = 16
"""Cells along a side of a block that counts as one draw."""

_BOUNDED = ("harmful-exits", "disagreement", "error")  # risks that are a share of images whose class is wrong
_ACROSS = 9  # places in a row of cells where the size of a pixel is measured


class AreaCount:
    """Adds up areas while the rows of a map pass."""

    def __init__(self, grid: Grid, ground: Ground, legend: Sequence[Entry]) -> None:
        self._grid, self._ground, self._legend = grid, ground, legend
        self._km2 = np.zeros(NODATA + 1)
        self._blocks: set[int] = set()

    def add(self, rows: CellRows) -> None:
        """Count rows of cells."""
        areas = rows.valid_pixels * self._pixel_km2(rows)
        self._km2 += np.bincount(rows.classes.ravel(), areas.ravel(), NODATA + 1)
        row, column = np.nonzero(rows.classes != NODATA)
        across = -(-rows.classes.shape[1] // BLOCK)
        self._blocks |= set(np.unique((rows.first + row) // BLOCK * across + column // BLOCK).tolist())

    def _pixel_km2(self, rows: CellRows) -> npt.NDArray[np.float64]:
        """Area of a pixel as it is read, for each cell; measured at some places of each row."""
        height, width = rows.classes.shape
        down, across = self._grid.rows, self._grid.columns
        places = np.linspace(0, width - 1, min(_ACROSS, width))
        lines = (rows.first + np.arange(height) + 0.5) * down.stride * down.step
        columns, measured_rows = np.meshgrid((places + 0.5) * across.stride * across.step, lines)
        area = self._ground.sizes(columns.ravel(), measured_rows.ravel())[2].reshape(columns.shape)
        filled = np.stack([np.interp(np.arange(width), places, each) for each in area])
        return filled * down.step * across.step / 1e6

    @property
    def km2(self) -> tuple[float, ...]:
        """Area of each entry of the legend."""
        return tuple(float(self._km2[entry.value]) for entry in self._legend)

    @property
    def blocks(self) -> int:
        """Blocks with a mapped cell."""
        return len(self._blocks)

    def result(self, guarantee: Mapping[str, Any]) -> tuple[ClassArea, ...]:
        """All classes of the legend, with intervals where the guarantee of the policy bounds them."""
        total = sum(self.km2)
        harmed = harmed_share(guarantee, self.blocks)
        found = []
        for entry, km2 in zip(self._legend, self.km2, strict=True):
            share = km2 / total if total else 0.0
            interval = None if harmed is None else (max(0.0, share - harmed), min(1.0, share + harmed))
            found.append(ClassArea(entry.name, km2, share, interval))
        return tuple(found)


def harmed_share(guarantee: Mapping[str, Any], blocks: int) -> float | None:
    """The largest share of an area that early exits harm, with 95% probability, by a policy's guarantee.

    None: no guarantee, or one of a risk that is no share of images, or no area. Bounds the mean of that many
    independent draws from 0 to 1 by their expectation: Markov's inequality for few, else Hoeffding, Probability
    inequalities for sums of bounded random variables, JASA 58 (1963), theorem 1.
    """
    limit = guarantee.get("risk_limit")
    if guarantee.get("risk") not in _BOUNDED or not isinstance(limit, int | float) or not 0 < limit < 1 or not blocks:
        return None
    needed = math.log(1 / (1 - CONFIDENCE)) / blocks
    if needed >= _divergence(1.0, limit):
        return min(1.0, limit / (1 - CONFIDENCE))
    return min(limit / (1 - CONFIDENCE), falling_root(lambda share: needed - _divergence(share, limit), limit, 1.0))


def _divergence(share: float, limit: float) -> float:
    """Kullback-Leibler divergence between two coins."""
    rest = 0.0 if share >= 1 else (1 - share) * math.log((1 - share) / (1 - limit))
    return share * math.log(share / limit) + rest
