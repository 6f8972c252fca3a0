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


class Chip(NamedTuple):
    """A chip of a unit, before it is fitted to the network.

    Attributes:
        row: within the unit.
        column: within the unit.
        pixels: uint8 [height, width, 3]; those that are not valid have the mean colour of the others.
        validity: share of valid pixels; at 0 the pixels mean nothing.
        readable: share of pixels that can be read.
    """

    row: int
    column: int
    pixels: Bytes
    validity: float
    readable: float


def read_unit(dataset: DatasetReader, samples: Samples, grid: Grid, spec: InputSpec, unit: Unit) -> UnitPixels:
    """Read and prepare one unit; what cannot be read is not valid."""
    down, across = _spans(grid, unit)
    pixels, valid, bad = _read(dataset, samples, grid, down, across)
    cells = np.s_[down.cells, across.cells]
    valid_pixels = _per_cell(valid[cells], grid)
    unreadable, first = _lost(bad[cells], grid, unit)
    cut = _cut(*_mirrored(down, across, pixels, valid, bad), grid, unit)
    chips, places, validity = _fitted(cut, grid.side, spec)
    return UnitPixels(unit, chips, places, validity, valid_pixels, unreadable, first)


def read_chips(dataset: DatasetReader, samples: Samples, grid: Grid, unit: Unit) -> Iterator[Chip]:
    """All chips of a unit, row by row, as they are before `read_unit` fits them to the network."""
    down, across = _spans(grid, unit)
    return _cut(*_mirrored(down, across, *_read(dataset, samples, grid, down, across)), grid, unit)


def _spans(grid: Grid, unit: Unit) -> tuple[_Span, _Span]:
    return _span(grid.rows, unit.row, grid.side), _span(grid.columns, unit.column, grid.side)


def _mirrored(down: _Span, across: _Span, pixels: Bytes, valid: Mask, bad: Mask) -> tuple[Bytes, Mask, Mask]:
    """With the mirror image beyond the edges of the scene, where chips reach there."""
    if not (down.is_mirrored or across.is_mirrored):
        return pixels, valid, bad
    place = np.ix_(down.found, across.found)
    return pixels[place], valid[place], bad[place]


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


def _cut(pixels: Bytes, valid: Mask, bad: Mask, grid: Grid, unit: Unit) -> Iterator[Chip]:
    """The chips of what was read, row by row."""
    is_whole = bool(valid.all())
    for row in range(min(grid.side, grid.rows.chips - unit.row)):
        for column in range(min(grid.side, grid.columns.chips - unit.column)):
            top, left = row * grid.rows.stride, column * grid.columns.stride
            here = np.s_[top : top + grid.rows.chip, left : left + grid.columns.chip]
            share = 1.0 if is_whole else float(valid[here].mean())
            readable = 1.0 if share == 1 else 1 - float(bad[here].mean())
            chip = _filled(pixels[here], valid[here]) if 0 < share < 1 else pixels[here]
            yield Chip(row, column, np.ascontiguousarray(chip), share, readable)


def _fitted(
    cut: Iterator[Chip], side: int, spec: InputSpec
) -> tuple[Bytes, npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Chips with any valid pixel, their places, and the validity of all, as in `UnitPixels`."""
    validity = np.zeros((side, side), np.float32)
    chips, places = [], []
    for chip in cut:
        validity[chip.row, chip.column] = chip.validity
        if chip.validity:
            chips.append(fit(chip.pixels, spec))
            places.append((chip.row, chip.column))
    stacked = np.stack(chips) if chips else np.zeros((0, spec.size, spec.size, 3), np.uint8)
    return stacked, np.array(places, np.intp).reshape(-1, 2), validity


def _filled(chip: Bytes, valid: Mask) -> Bytes:
    """A chip whose pixels that are not valid have the mean colour of the others: black would be a scene of its own."""
    filled = chip.copy()
    filled[~valid] = np.rint(chip[valid].mean(axis=0)).astype(np.uint8)
    return filled


Reader = Callable[[Unit], UnitPixels]
"""Reads one unit."""
