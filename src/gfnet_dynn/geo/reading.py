"""Reading the pixels of one unit, and cutting its chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

_SMALLEST = 64  # pixels along a side of a piece that is tried again where reading fails


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
    """Pixels of one axis that a unit reads, and where each is found in them: beyond the edge they are mirrored."""

    start: int
    stop: int
    found: npt.NDArray[np.intp]


def read_unit(dataset: DatasetReader, samples: Samples, grid: Grid, spec: InputSpec, unit: Unit) -> UnitPixels:
    """Read and prepare one unit; what cannot be read is not valid."""
    down, across = _span(grid.rows, unit.row, grid.side), _span(grid.columns, unit.column, grid.side)
    pixels, valid, bad = _read(dataset, samples, grid, down, across)
    own = np.s_[: grid.side * grid.rows.stride, : grid.side * grid.columns.stride]
    begins = unit.row * grid.rows.stride - down.start, unit.column * grid.columns.stride - across.start
    inside = np.s_[begins[0] :, begins[1] :]
    valid_pixels = _per_cell(valid[inside][own], grid)
    lost = np.argwhere(bad[inside][own])
    if len(down.found) != len(pixels) or len(across.found) != pixels.shape[1]:
        mirrored = np.ix_(down.found, across.found)
        pixels, valid = pixels[mirrored], valid[mirrored]
    chips, places, validity = _cut(pixels, valid, grid, unit, spec)
    row, column = lost[0] if len(lost) else (0, 0)
    first = (
        (unit.column * grid.columns.stride + int(column)) * grid.columns.step,
        (unit.row * grid.rows.stride + int(row)) * grid.rows.step,
    )
    return UnitPixels(unit, chips, places, validity, valid_pixels, len(lost), first)


def _span(axis: Axis, first: int, side: int) -> _Span:
    last = min(first + side, axis.chips) - 1
    stop = max(min((first + side) * axis.stride, axis.length), last * axis.stride + axis.chip)
    wanted = np.arange(first * axis.stride, stop)
    mirrored = np.where(wanted < axis.length, wanted, 2 * (axis.length - 1) - wanted)
    start = int(mirrored.min())
    return _Span(start, int(mirrored.max()) + 1, mirrored - start)


def _read(dataset: DatasetReader, samples: Samples, grid: Grid, down: _Span, across: _Span) -> tuple[Bytes, Mask, Mask]:
    """Bytes, where they are valid, and where they cannot be read."""
    shape = (down.stop - down.start, across.stop - across.start)
    pixels, valid, bad = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)

    def read(top: int, left: int, height: int, width: int) -> None:
        window = Window(
            (across.start + left) * grid.columns.step,
            (down.start + top) * grid.rows.step,
            width * grid.columns.step,
            height * grid.rows.step,
        )
        here = np.s_[top : top + height, left : left + width]
        try:
            pixels[here], valid[here] = samples.read(dataset, window, (height, width))
        except RasterioError:
            if max(height, width) <= _SMALLEST:
                bad[here] = True
            else:
                for piece in _quarters(top, left, height, width):
                    read(*piece)

    read(0, 0, *shape)
    return pixels, valid, bad


def _quarters(top: int, left: int, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Pieces of a region, each at least a pixel high and wide."""
    high, wide = -(-height // 2), -(-width // 2)
    for row, tall in ((top, high), (top + high, height - high)):
        for column, broad in ((left, wide), (left + wide, width - wide)):
            if tall and broad:
                yield row, column, tall, broad


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
