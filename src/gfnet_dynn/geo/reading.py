"""Reading the pixels of one unit, and cutting its chips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from gfnet_dynn.geo.grid import Axis, Grid, Unit
from gfnet_dynn.geo.samples import Bytes, Mask, Samples
from gfnet_dynn.images.fit import fit
from gfnet_dynn.spec.network import InputSpec


@dataclass(frozen=True)
class UnitPixels:
    """What a unit needs of the scene, ready for the network.

    Attributes:
        unit: the unit.
        chips: uint8 [N, S, S, 3] of the chips with any valid pixel, row by row.
        places: row and column of each within the unit, [N, 2].
        validity: share of valid pixels of every chip of the unit, float32 [side, side]; 0 where there is no chip.
        valid_pixels: of every cell, uint32 [side, side].
        unreadable: pixels within the cells that cannot be read.
        first_unreadable: column and row of the first of them in the scene.
    """

    unit: Unit
    chips: Bytes
    places: npt.NDArray[np.intp]
    validity: npt.NDArray[np.float32]
    valid_pixels: npt.NDArray[np.uint32]
    unreadable: int
    first_unreadable: tuple[int, int]


class _Span(NamedTuple):
    """Pixels of one axis that a unit reads.

    Attributes:
        begin: the first of them.
        end: behind the last.
        found: where each pixel of the chips is among them; beyond the edge of the scene they are mirrored.
        cells: those of the unit's cells among them.
        is_mirrored: whether any chip reaches beyond the edge.
    """

    begin: int
    end: int
    found: npt.NDArray[np.intp]
    cells: slice
    is_mirrored: bool


def read_unit(dataset: DatasetReader, samples: Samples, grid: Grid, spec: InputSpec, unit: Unit) -> UnitPixels:
    """Read and prepare one unit; what cannot be read is not valid."""
    down, across = _span(grid.rows, unit.row, grid.side), _span(grid.columns, unit.column, grid.side)
    pixels, valid, bad = _read(dataset, samples, grid, down, across)
    cells = np.s_[down.cells, across.cells]
    valid_pixels = _per_cell(valid[cells], grid)
    unreadable, first = _lost(bad[cells], grid, unit)
    if down.is_mirrored or across.is_mirrored:
        mirrored = np.ix_(down.found, across.found)
        pixels, valid = pixels[mirrored], valid[mirrored]
    chips, places, validity = _cut(pixels, valid, grid, unit, spec)
    return UnitPixels(unit, chips, places, validity, valid_pixels, unreadable, first)


def _span(axis: Axis, first: int, side: int) -> _Span:
    last, start = min(first + side, axis.chips) - 1, first * axis.stride
    cells_end = min(start + side * axis.stride, axis.length)
    wanted = np.arange(start, max(cells_end, last * axis.stride + axis.chip))
    mirrored = np.where(wanted < axis.length, wanted, 2 * (axis.length - 1) - wanted)
    begin = int(mirrored.min())
    cells = slice(start - begin, cells_end - begin)
    return _Span(begin, int(mirrored.max()) + 1, mirrored - begin, cells, bool(wanted[-1] >= axis.length))


def _lost(bad: Mask, grid: Grid, unit: Unit) -> tuple[int, tuple[int, int]]:
    """Pixels of the scene that cannot be read in the cells of a unit, and column and row of the first."""
    rows, columns = np.nonzero(bad)
    if not len(rows):
        return 0, (0, 0)
    column = (unit.column * grid.columns.stride + int(columns[0])) * grid.columns.step
    row = (unit.row * grid.rows.stride + int(rows[0])) * grid.rows.step
    return len(rows) * grid.rows.step * grid.columns.step, (column, row)


def _read(dataset: DatasetReader, samples: Samples, grid: Grid, down: _Span, across: _Span) -> tuple[Bytes, Mask, Mask]:
    """Bytes, where they are valid, and where they cannot be read: then block by block of the file."""
    shape = (down.end - down.begin, across.end - across.begin)
    pixels, valid, bad = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)

    def read(rows: slice, columns: slice) -> bool:
        window = _window(grid, down.begin, across.begin, rows, columns)
        try:
            found = samples.read(dataset, window, (rows.stop - rows.start, columns.stop - columns.start))
        except RasterioError:
            return False
        pixels[rows, columns], valid[rows, columns] = found
        return True

    if not read(slice(0, shape[0]), slice(0, shape[1])):
        height, width = dataset.block_shapes[samples.bands[0] - 1]
        for rows in _pieces(down, grid.rows.step, height):
            for columns in _pieces(across, grid.columns.step, width):
                bad[rows, columns] = not read(rows, columns)
    for left, top, right, bottom in samples.missing:
        rows = _within(down, top / grid.rows.step, bottom / grid.rows.step)
        columns = _within(across, left / grid.columns.step, right / grid.columns.step)
        bad[rows, columns] = True
    return pixels, valid & ~bad, bad


def _window(grid: Grid, top: int, left: int, rows: slice, columns: slice) -> Window:
    """The window of the scene, in its own pixels, of rows and columns from a corner on."""
    down, across = grid.rows.step, grid.columns.step
    place = (left + columns.start) * across, (top + rows.start) * down
    return Window(*place, (columns.stop - columns.start) * across, (rows.stop - rows.start) * down)


def _pieces(span: _Span, step: int, block: int) -> Iterator[slice]:
    """What is read, divided where blocks of the file meet; a pixel that is averaged over two blocks stands alone."""
    edges = {span.begin, span.end}
    for border in range(span.begin * step // block * block, span.end * step, block):
        edges |= {border // step, -(-border // step)}
    inside = sorted(edge - span.begin for edge in edges if span.begin <= edge <= span.end)
    yield from (slice(first, last) for first, last in pairwise(inside))


def _within(span: _Span, first: float, last: float) -> slice:
    """The part of what is read from `first` to `last`, which it touches."""
    return slice(max(0, math.floor(first) - span.begin), max(0, math.ceil(last) - span.begin))


def _per_cell(valid: Mask, grid: Grid) -> npt.NDArray[np.uint32]:
    """Valid pixels of every cell of a unit, [side, side]; a cell outside the scene has none."""
    counts = np.zeros((grid.side, grid.side), np.uint32)
    rows = np.arange(0, valid.shape[0], grid.rows.stride)
    columns = np.arange(0, valid.shape[1], grid.columns.stride)
    sums = np.add.reduceat(np.add.reduceat(valid.astype(np.uint32), rows, axis=0), columns, axis=1)
    counts[: len(rows), : len(columns)] = sums
    return counts


def _cut(
    pixels: Bytes, valid: Mask, grid: Grid, unit: Unit, spec: InputSpec
) -> tuple[Bytes, npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Chips, their places and validity, as in `UnitPixels`."""
    validity = np.zeros((grid.side, grid.side), np.float32)
    chips, places, whole = [], [], bool(valid.all())
    for row in range(min(grid.side, grid.rows.chips - unit.row)):
        for column in range(min(grid.side, grid.columns.chips - unit.column)):
            top, left = row * grid.rows.stride, column * grid.columns.stride
            here = np.s_[top : top + grid.rows.chip, left : left + grid.columns.chip]
            share = 1.0 if whole else float(valid[here].mean())
            validity[row, column] = share
            if share:
                chip = pixels[here] if share == 1 else _filled(pixels[here], valid[here])
                chips.append(fit(np.ascontiguousarray(chip), spec))
                places.append((row, column))
    stacked = np.stack(chips) if chips else np.zeros((0, spec.size, spec.size, 3), np.uint8)
    return stacked, np.array(places, np.intp).reshape(-1, 2), validity


def _filled(chip: Bytes, valid: Mask) -> Bytes:
    """A chip whose pixels that are not valid have the mean colour of the others: black would be a scene of its own."""
    filled = chip.copy()
    filled[~valid] = np.rint(chip[valid].mean(axis=0)).astype(np.uint8)
    return filled


Reader = Callable[[Unit], UnitPixels]
"""Reads one unit."""
