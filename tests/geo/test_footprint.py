"""Footprints of chips against corners computed by hand."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from gfnet_dynn.geo.footprint import Footprint, footprints
from gfnet_dynn.geo.grid import Axis, Grid
from gfnet_dynn.geo.ground import Ground
from tests.geo.scenes import ORIGIN, PLACE

UTM = CRS.from_epsg(32632)
DEGREES = CRS.from_epsg(4326)
GRID = Grid(Axis(1, 70, 8, 8), Axis(1, 90, 8, 8))

Ring = npt.NDArray[np.float64]


def rings(wkb: bytes) -> list[Ring]:
    """The closed outer rings of a polygon or multipolygon, [N, 2] each."""
    kind, count = struct.unpack_from("<II", wkb, 1)
    assert wkb[0] == 1
    place, found = 9, []
    if kind == 3:
        place, count = 0, 1
    for _ in range(count):
        order, inner, num_rings, points = struct.unpack_from("<BIII", wkb, place)
        assert (order, inner, num_rings) == (1, 3, 1)
        found.append(np.frombuffer(wkb, "<f8", 2 * points, place + 13).reshape(-1, 2))
        place += 13 + 16 * points
    assert place == len(wkb)
    return found


def area(ring: Ring) -> float:
    """Signed, of a closed ring: positive where it runs counter-clockwise."""
    x, y = ring.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def one(ground: Ground, row: int, column: int, grid: Grid = GRID) -> Footprint | None:
    (found,) = footprints(ground, grid, np.array([row]), np.array([column]))
    return found


def in_degrees(eastings: list[float], northings: list[float]) -> set[tuple[float, float]]:
    longitudes, latitudes = transform(UTM, DEGREES, eastings, northings)
    return {(round(x, 7), round(y, 7)) for x, y in zip(longitudes, latitudes, strict=True)}


def corners(footprint: Footprint) -> set[tuple[float, float]]:
    (ring,) = rings(footprint.wkb)
    assert len(ring) == 5
    assert (ring[0] == ring[-1]).all()
    return {(round(float(x), 7), round(float(y), 7)) for x, y in ring}


def test_corners_in_utm() -> None:
    found = one(Ground(PLACE, UTM), 2, 3)
    assert found is not None
    west, north = ORIGIN[0] + 3 * 80, ORIGIN[1] - 2 * 80
    assert corners(found) == in_degrees([west, west, west + 80, west + 80], [north, north - 80, north - 80, north])
    assert len(found.wkb) == 93
    (ring,) = rings(found.wkb)
    assert area(ring) > 0
    assert found.bounds == (*ring.min(axis=0), *ring.max(axis=0))


def test_the_part_beyond_the_edge_is_no_ground() -> None:
    found = one(Ground(PLACE, UTM), 8, 11)  # rows 64 to 72 of 70, columns 88 to 96 of 90
    assert found is not None
    west, north = ORIGIN[0] + 880, ORIGIN[1] - 640
    assert corners(found) == in_degrees([west, west, west + 20, west + 20], [north, north - 60, north - 60, north])


def test_averaged_pixels_and_strides_count_in_pixels_of_the_scene() -> None:
    grid = Grid(Axis(2, 35, 8, 4), Axis(2, 45, 8, 4))
    found = one(Ground(PLACE, UTM), 1, 2, grid)
    assert found is not None
    west, north = ORIGIN[0] + 160, ORIGIN[1] - 80
    assert corners(found) == in_degrees([west, west, west + 160, west + 160], [north, north - 160, north - 160, north])


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_rotated_scene(upside_down: bool) -> None:
    """A quarter turn: columns run north, rows run east; or mirrored, rows run west."""
    east = -10.0 if upside_down else 10.0
    found = one(Ground(Affine(0, east, ORIGIN[0], 10, 0, ORIGIN[1]), UTM), 2, 3)
    assert found is not None
    first, second = ORIGIN[0] + 16 * east, ORIGIN[0] + 24 * east
    south, north = ORIGIN[1] + 240, ORIGIN[1] + 320
    assert corners(found) == in_degrees([first, first, second, second], [south, north, north, south])
    assert area(rings(found.wkb)[0]) > 0


def degrees_scene(west: float, north: float, step: float = 0.01) -> Ground:
    return Ground(Affine(step, 0, west, 0, -step, north), DEGREES)


def test_a_chip_across_the_antimeridian_has_two_parts() -> None:
    found = one(degrees_scene(179.95, 10.0), 0, 0)  # from 179.95 to 180.03
    assert found is not None
    west, east = rings(found.wkb)
    assert (west[:, 0].min(), west[:, 0].max()) == pytest.approx((179.95, 180))
    assert (east[:, 0].min(), east[:, 0].max()) == pytest.approx((-180, -179.97))
    assert area(west) == pytest.approx(0.05 * 0.08)
    assert area(east) == pytest.approx(0.03 * 0.08)
    assert found.bounds == pytest.approx((-180, 9.92, 180, 10))


@pytest.mark.parametrize(("west", "expected"), [(179.92, (179.92, 180.0)), (-180.0, (-180.0, -179.92))])
def test_a_chip_that_ends_at_the_antimeridian_has_one(west: float, expected: tuple[float, float]) -> None:
    found = one(degrees_scene(west, 10.0), 0, 0)
    assert found is not None
    assert len(rings(found.wkb)) == 1
    assert found.bounds[::2] == pytest.approx(expected)


def test_a_chip_over_a_pole_has_no_polygon() -> None:
    polar = Ground(Affine(1000, 0, -4000, 0, -1000, 4000), CRS.from_epsg(3413))
    assert one(polar, 0, 0) is None
    beside = one(polar, 0, 1)
    assert beside is not None
    assert all(area(ring) > 0 for ring in rings(beside.wkb))
