"""From the probabilities of chips to those of cells; each cell is summed in one fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import StorageError
from gfnet_dynn.geo.grid import Grid
from gfnet_dynn.geo.journal import Record

NODATA = 255
"""In all maps: no valid pixels, or too few."""

_ENOUGH = 0.5  # of a cell's pixels, valid; and of the chips' weight, unknown

_ROUNDING = 1e-9  # two of four equal weights are half of them

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CellRows:
    """Some rows of all three maps, from a row of cells on.

    Attributes:
        first: the first of them.
        classes: index of the class, that number of classes for unknown, `NODATA`: [rows, cells].
        confidences: per cent.
        exits: the latest exit that a chip of the cell takes, from 1.
        valid_pixels: of each cell.
    """

    first: int
    classes: Bytes
    confidences: Bytes
    exits: Bytes
    valid_pixels: npt.NDArray[np.uint32]


@dataclass(frozen=True)
class _Chips:
    """Rows of chips over the whole width; the fields are those of the journal's records."""

    fields: dict[str, npt.NDArray[Any]]

    def below(self, earlier: _Chips | None, kept: int) -> _Chips:
        """With the last `kept` rows of what lies above."""
        if earlier is None or not kept:
            return self
        return _Chips(
            {name: np.concatenate([earlier.fields[name][-kept:], each]) for name, each in self.fields.items()}
        )


def cell_rows(read: Callable[[int], Record | None], grid: Grid, *, blend: bool) -> Iterator[CellRows]:
    """The maps from the records of all units, by index; raises StorageError: one is gone."""
    kept, chips = grid.rows.overlap - 1, None
    for down in range(grid.units_down):
        chips = _unit_row(read, grid, down).below(chips, kept)
        first = down * grid.side
        count = min(grid.side, grid.rows.cells - first)
        above = len(chips.fields["exits"]) - grid.side
        yield _combine(chips, grid, first, count, above, blend=blend)


def _unit_row(read: Callable[[int], Record | None], grid: Grid, down: int) -> _Chips:
    records = [read(down * grid.units_across + across) for across in range(grid.units_across)]
    found = [each for each in records if each is not None]
    if len(found) < len(records):
        raise StorageError("finished blocks of the map are damaged on disk: run the same command again")
    names = ("probabilities", "exits", "unknown", "validity", "valid_pixels")
    return _Chips({name: np.concatenate([each[name] for each in found], axis=1) for name in names})


def _combine(chips: _Chips, grid: Grid, first: int, count: int, above: int, *, blend: bool) -> CellRows:
    cells, own = grid.columns.cells, np.s_[above : above + count, : grid.columns.cells]
    num_classes = chips.fields["probabilities"].shape[-1]
    sums, weights = np.zeros((count, cells, num_classes)), np.zeros((count, cells))
    unknown, exits = np.zeros((count, cells)), np.zeros((count, cells), np.uint8)
    for rows, columns, weight in _covering(grid, np.arange(first, first + count), blend=blend):
        inside = ((rows >= 0) & (rows < grid.rows.chips))[:, None] & ((columns >= 0) & (columns < grid.columns.chips))
        at = np.ix_(np.clip(rows - first + above, 0, None), np.clip(columns, 0, None))
        part = weight * inside * chips.fields["validity"][at].astype(np.float64)
        sums += part[..., None] * chips.fields["probabilities"][at]
        unknown += part * chips.fields["unknown"][at]
        exits = np.maximum(exits, np.where(part > 0, chips.fields["exits"][at] + 1, 0).astype(np.uint8))
        weights += part
    valid_pixels = chips.fields["valid_pixels"][own]
    whole = np.outer(grid.rows.cell_lengths()[first : first + count], grid.columns.cell_lengths())
    empty = (valid_pixels < _ENOUGH * whole) | (weights == 0)
    divisor = np.where(weights > 0, weights, 1)
    probabilities = sums / divisor[..., None]
    named = np.where(unknown >= (_ENOUGH - _ROUNDING) * divisor, num_classes, probabilities.argmax(axis=-1))
    confidences = np.rint(100 * probabilities.max(axis=-1))
    classes, confidences, exits = (
        np.where(empty, NODATA, each).astype(np.uint8) for each in (named, confidences, exits)
    )
    return CellRows(first, classes, confidences, exits, np.where(empty, 0, valid_pixels).astype(np.uint32))


def _covering(
    grid: Grid, cells: npt.NDArray[np.intp], *, blend: bool
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], float]]:
    """Row and column of a chip for each row and column of cells, with its weight; one set of chips after the other."""
    across = np.arange(grid.columns.cells)
    if not blend:
        yield grid.rows.nearest(cells), grid.columns.nearest(across), 1.0
        return
    for before, vertical in enumerate(grid.rows.weights):
        for left, horizontal in enumerate(grid.columns.weights):
            yield cells - before, across - left, vertical * horizontal
