"""Chips one by one, against those of a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.chips import ChipRule, PlacedChip, chips_of, opened_at, plan_chips
from gfnet_dynn.geo.grid import Axis, Grid
from gfnet_dynn.geo.reading import read_unit
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.images.fit import fit
from gfnet_dynn.spec.network import InputSpec
from tests.geo.scenes import pixels, write_scene

SPEC = InputSpec(8)
RULE = ChipRule(8)


def all_chips(scene: Path, rule: ChipRule = RULE) -> list[PlacedChip]:
    with opened_at(str(scene)) as dataset:
        plan = plan_chips(dataset, rule)
        return [chip for unit in plan.grid.units() for chip in chips_of(dataset, plan, unit)]


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        ChipRule(8, stride_m=30),
        ChipRule(8, chip_m=170, stride_m=120),
        ChipRule(8, chip_m=400),
        ChipRule(8, scale=Scale(0.02, 0.98, of_samples=True)),
    ],
)
def test_chips_are_those_of_the_map(tmp_path: Path, rule: ChipRule) -> None:
    scene = write_scene(tmp_path / "scene.tif", pixels(170, 190), nodata=255)
    expected: list[npt.NDArray[np.uint8]] = []
    with opened_at(str(scene)) as dataset:
        plan = plan_chips(dataset, rule)
        for unit in plan.grid.units():
            expected.extend(read_unit(dataset, plan.samples, plan.grid, SPEC, unit).chips)
    found = all_chips(scene, rule)
    assert len(found) == len(expected)
    assert all(
        (fit(chip.pixels, SPEC) == other).all()
        for chip, other in zip(found, expected, strict=True)
        if chip.pixels is not None
    )
    places = [(chip.row, chip.column) for chip in found]
    assert len(set(places)) == len(places)


def test_chips_without_a_valid_pixel_are_left_out(tmp_path: Path) -> None:
    values = np.full((3, 16, 24), 90, np.uint8)
    values[:, :8, :8] = 0
    values[:, :4, 8:16] = 0
    found = all_chips(write_scene(tmp_path / "scene.tif", values, nodata=0))
    assert [(chip.row, chip.column, chip.validity) for chip in found] == [
        (0, 1, 0.5), (0, 2, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)
    ]  # fmt: skip


def test_a_chip_that_cannot_be_read_is_kept_without_pixels(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", pixels(32, 32), compress="deflate")
    intact = scene.read_bytes()
    with opened_at(str(scene)) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    scene.write_bytes(intact[:offset] + b"\xff" * 40 + intact[offset + 40 :])
    found = all_chips(scene)
    assert {(chip.row, chip.column) for chip in found if chip.pixels is None} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(found) == 16
    assert all(chip.footprint is not None for chip in found)


def test_units_at_the_edge_may_have_no_chips(tmp_path: Path) -> None:
    with opened_at(str(write_scene(tmp_path / "scene.tif", pixels(70, 90)))) as dataset:
        plan = plan_chips(dataset, ChipRule(8, stride_m=10))
        grid = Grid(Axis(1, 70, 8, 4), Axis(1, 68, 8, 4))  # 17 cells across, 16 chips
        assert (grid.units_across, grid.columns.chips) == (2, 16)
        edge = list(grid.units())[1]
        assert list(chips_of(dataset, type(plan)(plan.scene, plan.samples, grid), edge)) == []


def test_the_reference_system_as_text(tmp_path: Path) -> None:
    with opened_at(str(write_scene(tmp_path / "scene.tif"))) as dataset:
        assert plan_chips(dataset, RULE).crs == "EPSG:32632"


def test_a_scene_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"no scene at nowhere\.tif"), opened_at("nowhere.tif"):
        pass
