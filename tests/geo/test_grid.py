"""Chips, cells and units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.geo.grid import Axis, Grid, make_axis


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    chip = draw(st.integers(1, 80))
    return Axis(1, draw(st.integers(chip, 400)), chip, draw(st.integers(1, chip)))


@given(axes())
def test_every_cell_has_a_chip_over_its_centre(axis: Axis) -> None:
    for cell in range(axis.cells):
        centre = (cell + 0.5) * axis.stride
        chips = [chip for chip in range(cell - axis.overlap + 1, cell + 1) if 0 <= chip < axis.chips]
        assert chips
        assert all(chip * axis.stride <= centre < chip * axis.stride + axis.chip for chip in chips)


@given(axes())
def test_a_mirrored_chip_needs_no_pixel_before_the_scene(axis: Axis) -> None:
    beyond = (axis.chips - 1) * axis.stride + axis.chip - axis.length
    assert beyond < axis.chip <= axis.length


@given(axes())
def test_the_nearest_chip_exists_and_covers_the_centre(axis: Axis) -> None:
    cells = np.arange(axis.cells)
    chips = axis.nearest(cells)
    centres = (cells + 0.5) * axis.stride
    assert ((chips >= 0) & (chips < axis.chips)).all()
    assert ((chips * axis.stride <= centres) & (centres < chips * axis.stride + axis.chip)).all()


@given(axes())
def test_cells_cover_the_scene(axis: Axis) -> None:
    assert axis.cell_lengths().sum() == axis.length
    assert axis.cell_lengths().min() >= 1


@given(axes(), axes())
def test_units_cover_all_cells_once(rows: Axis, columns: Axis) -> None:
    grid = Grid(rows, columns)
    covered = np.zeros((grid.units_down * grid.side, grid.units_across * grid.side), int)
    for unit in grid.units():
        covered[unit.row : unit.row + grid.side, unit.column : unit.column + grid.side] += 1
    assert (covered == 1).all()
    assert covered.shape[0] >= rows.cells
    assert covered.shape[1] >= columns.cells


def test_half_overlapping_chips_count_alike() -> None:
    assert Axis(1, 640, 64, 32).weights == pytest.approx((0.5, 0.5))


def test_weights_add_up_to_a_constant() -> None:
    for stride in (8, 16, 32):  # so that no cell leans to a side
        assert sum(Axis(1, 640, 64, stride).weights) == pytest.approx(32 / stride)


def test_a_coarse_network_reads_averages() -> None:
    axis = make_axis(pixels=5000, gsd_m=1.0, chip_m=640, stride_m=320, network_px=64)
    assert axis == Axis(step=5, length=1000, chip=128, stride=64)
    assert make_axis(5000, 10.0, 640, 320, 64) == Axis(1, 5000, 64, 32)


def test_a_stride_of_a_chip_is_no_longer_than_the_chip() -> None:
    """67 pixels are 16.75 averaged ones, which round to more than the chip has."""
    assert make_axis(2000, 10.0, 670, 670, 8) == Axis(step=4, length=500, chip=17, stride=17)


def test_units_of_large_chips_are_small() -> None:
    wide = Axis(1, 20_000, 512, 256)
    assert Grid(wide, wide).side == 8
    assert Grid(wide, wide).unit_bytes(160) < 100e6


@pytest.mark.parametrize(
    ("pixels", "gsd_m", "stride_m", "kind", "fact"),
    [
        (63, 10.0, 320, DataError, "63 pixels along a side"),
        (5000, 50.0, 320, DataError, "only 13 pixels of 50 m"),
        (5000, 10.0, 641.0, None, ""),  # the same number of pixels
        (5000, 10.0, 700, OptionError, "--stride"),
        (5000, 10.0, 4, OptionError, "--stride"),
    ],
)
def test_what_does_not_fit_is_refused(
    pixels: int, gsd_m: float, stride_m: float, kind: type[Exception] | None, fact: str
) -> None:
    if kind is None:
        assert make_axis(pixels, gsd_m, 640, stride_m, 64).stride == 64
        return
    with pytest.raises(kind, match=fact):
        make_axis(pixels, gsd_m, 640, stride_m, 64)
