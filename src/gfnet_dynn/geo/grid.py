"""Where chips and cells lie: one regular grid from the scene's origin, in the scene's own rows and columns.

A cell of the map is a square of one stride. A chip starts at the corner of a cell and covers one or several. The last
chip of a row or column may reach beyond the scene by less than its side. Units of work are squares of chips that depend
on the grid alone, never on memory, threads or an interruption: so the same chips always share a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.wording import counted

_UNIT = 16  # most chips along a side of a unit
_UNIT_PX = 2560  # most pixels along a side of a unit, where several chips fit
_FINE = 4  # a chip of so many times the network's pixels is averaged while it is read
_COARSE = 4  # a chip has at least this part of the network's pixels

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Axis:
    """Chips and cells along the rows or the columns of a scene; all lengths in steps of `step` scene pixels.

    Attributes:
        step: scene pixels that are averaged to one when they are read.
        length: of the scene; what is left over, less than one, is not read.
        chip: side of a chip.
        stride: side of a cell, at most that of a chip.
    """

    step: int
    length: int
    chip: int
    stride: int

    @property
    def cells(self) -> int:
        """Number of cells; the last one may be cut by the edge of the scene."""
        return -(-self.length // self.stride)

    @property
    def overlap(self) -> int:
        """Number of chips that cover the centre of a cell inside the scene."""
        return (2 * self.chip + self.stride - 1) // (2 * self.stride)

    @property
    def chips(self) -> int:
        """Number of chips: as few as cover the centres of all cells."""
        return self.cells - self.overlap + 1

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Raised-cosine weight of the chip that starts at a cell, of the one before it …, at the cell's centre."""
        centres = [(index + 0.5) * self.stride / self.chip for index in range(self.overlap)]
        return tuple(math.sin(math.pi * centre) ** 2 for centre in centres)

    def nearest(self, cells: Indices) -> Indices:
        """The chip whose centre is nearest to that of each cell, the later one of two: indices [N] → [N]."""
        before = (self.chip // self.stride - 1) // 2
        return np.clip(cells - before, 0, self.chips - 1)

    def cell_lengths(self) -> Indices:
        """Length of each cell inside the scene, [cells]."""
        lengths = np.full(self.cells, self.stride, np.intp)
        lengths[-1] = self.length - (self.cells - 1) * self.stride
        return lengths


@dataclass(frozen=True)
class Unit:
    """A square of work: the cells [row, row + side) × [column, column + side), and the chips that start there."""

    index: int
    row: int
    column: int


@dataclass(frozen=True)
class Grid:
    """Chips, cells and units of a scene."""

    rows: Axis
    columns: Axis

    @cached_property
    def side(self) -> int:
        """Chips along a side of a unit, a power of two."""
        longest = max(self.rows, self.columns, key=lambda axis: axis.chip + axis.stride)
        side = _UNIT
        while side > 1 and (side - 1) * longest.stride + longest.chip > _UNIT_PX:
            side //= 2
        return side

    @property
    def units_down(self) -> int:
        """Rows of units."""
        return -(-self.rows.cells // self.side)

    @property
    def units_across(self) -> int:
        """Columns of units."""
        return -(-self.columns.cells // self.side)

    @property
    def num_units(self) -> int:
        """Number of units."""
        return self.units_down * self.units_across

    @property
    def num_chips(self) -> int:
        """Number of chips, those without any valid pixel included."""
        return self.rows.chips * self.columns.chips

    def units(self) -> Iterator[Unit]:
        """All units, row by row."""
        for index in range(self.num_units):
            row, column = divmod(index, self.units_across)
            yield Unit(index, row * self.side, column * self.side)

    def unit_bytes(self, network_px: int) -> int:
        """Memory of one unit: samples of 4 bytes, then of one, and the mask; and chips of that side for the network."""
        area = math.prod((self.side - 1) * axis.stride + axis.chip for axis in (self.rows, self.columns))
        return area * (3 * 4 + 3 + 1) + self.side**2 * network_px**2 * 3


def make_axis(pixels: int, gsd_m: float, chip_m: float, stride_m: float, network_px: int) -> Axis:
    """The chips along one side of a scene.

    Args:
        pixels: of the scene along this side.
        gsd_m: metres that a pixel covers.
        chip_m: side of a chip.
        stride_m: side of a cell.
        network_px: side of what the network takes.

    Raises:
        DataError: the scene is smaller than a chip, or too coarse for one.
        OptionError: a stride that is no pixel or longer than a chip.
    """
    chip = round(chip_m / gsd_m)
    step = max(1, chip // (_FINE // 2 * network_px)) if chip >= _FINE * network_px else 1
    if chip * _COARSE < network_px:
        raise DataError(
            f"a chip of {chip_m:.4g} m has only {counted(chip, 'pixel')} of {gsd_m:.4g} m there, and the network "
            f"takes {network_px}: map a finer scene, take a model for coarser ones, or give --chip METRES"
        )
    if pixels < chip:
        raise DataError(
            f"it has {counted(pixels, 'pixel')} along a side, fewer than a chip of {chip_m:.4g} m ({chip} pixels): "
            "classify it as an image with `gfnet-dynn classify`, or give --chip METRES"
        )
    stride = round(stride_m / gsd_m / step)
    if stride < 1 or (stride * step > chip and stride_m > chip_m):
        raise OptionError(
            f"--stride must be from a pixel ({gsd_m:.4g} m) to a chip ({chip_m:.4g} m), not {stride_m:.4g} m"
        )
    return Axis(step, pixels // step, round(chip / step), min(stride, round(chip / step)))
