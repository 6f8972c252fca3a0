"""Pixels of units and their chips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gfnet_dynn.geo.grid import Axis, Grid
from gfnet_dynn.geo.raster import opened
from gfnet_dynn.geo.reading import UnitPixels, read_unit
from gfnet_dynn.geo.samples import Samples
from gfnet_dynn.spec.network import InputSpec
from tests.geo.scenes import pixels, write_scene

SPEC = InputSpec(8)
SAMPLES = Samples((1, 2, 3), None)


def read_all(scene: Path, grid: Grid, samples: Samples = SAMPLES) -> list[UnitPixels]:
    with opened(scene) as dataset:
        return [read_unit(dataset, samples, grid, SPEC, unit) for unit in grid.units()]


def chips_of(units: list[UnitPixels]) -> dict[tuple[int, int], npt.NDArray[np.uint8]]:
    """By row and column of the chip."""
    return {
        (unit.unit.row + int(row), unit.unit.column + int(column)): chip
        for unit in units
        for chip, (row, column) in zip(unit.chips, unit.places, strict=True)
    }


@pytest.mark.parametrize(
    ("height", "width", "stride"), [(129, 134, 8), (129, 134, 4), (130, 200, 3), (8, 8, 8), (9, 8, 5)]
)
def test_chips_are_those_of_the_mirrored_scene(tmp_path: Path, height: int, width: int, stride: int) -> None:
    values = pixels(height, width)
    grid = Grid(Axis(1, height, 8, stride), Axis(1, width, 8, stride))
    found = chips_of(read_all(write_scene(tmp_path / "scene.tif", values), grid))
    assert set(found) == {(row, column) for row in range(grid.rows.chips) for column in range(grid.columns.chips)}
    beyond = [max(0, (axis.chips - 1) * stride + 8 - axis.length) for axis in (grid.rows, grid.columns)]
    whole = np.moveaxis(np.pad(values, ((0, 0), (0, beyond[0]), (0, beyond[1])), mode="reflect"), 0, -1)
    for (row, column), chip in found.items():
        expected = whole[row * stride : row * stride + 8, column * stride : column * stride + 8]
        assert (chip == expected).all(), (row, column)


def test_pixels_are_averaged_by_their_step(tmp_path: Path) -> None:
    values = pixels(65, 97)  # the last row and column are no whole step
    grid = Grid(Axis(2, 32, 8, 8), Axis(2, 48, 8, 8))
    found = chips_of(read_all(write_scene(tmp_path / "scene.tif", values), grid))
    means = values[:, :64, :96].reshape(3, 32, 2, 48, 2).mean(axis=(2, 4))
    for (row, column), chip in found.items():
        expected = means[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        assert np.abs(np.moveaxis(chip, -1, 0) - expected).max() <= 0.75


def test_pixels_that_are_not_valid_get_the_mean_of_the_others(tmp_path: Path) -> None:
    values = np.full((3, 16, 16), 90, np.uint8)
    values[:, :4] = 0
    values[:, 8:, 8:] = 0
    grid = Grid(Axis(1, 16, 8, 8), Axis(1, 16, 8, 8))
    (unit,) = read_all(write_scene(tmp_path / "scene.tif", values, nodata=0), grid)
    assert sorted(chips_of([unit])) == [(0, 0), (0, 1), (1, 0)]
    assert (unit.chips == 90).all()
    assert unit.validity[:2, :2].tolist() == [[0.5, 0.5], [1, 0]]
    assert unit.valid_pixels[:2, :2].tolist() == [[32, 32], [64, 0]]
    assert unit.unreadable == 0


def test_missing_parts_are_not_valid_and_counted_once(tmp_path: Path) -> None:
    grid = Grid(Axis(1, 160, 8, 4), Axis(1, 160, 8, 4))
    scene = write_scene(tmp_path / "scene.tif", pixels(160, 160))
    units = read_all(scene, grid, Samples((1, 2, 3), None, missing=((30, 50, 70, 100),)))
    assert sum(unit.unreadable for unit in units) == 40 * 50
    assert next(unit.first_unreadable for unit in units if unit.unreadable) == (30, 50)
    assert sum(int(unit.valid_pixels.sum()) for unit in units) == 160 * 160 - 40 * 50
