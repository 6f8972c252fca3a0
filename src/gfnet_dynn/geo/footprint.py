"""Footprints of chips as polygons in longitude and latitude (OGC:CRS84), well-known binary."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gfnet_dynn.geo.grid import Axis, Grid, Indices
from gfnet_dynn.geo.ground import Floats, Ground

_DECIMALS = 9  # of degrees, a tenth of a millimetre: hides in what releases of PROJ differ
_LITTLE, _POLYGON, _MULTIPOLYGON = 1, 3, 6  # as ISO 19125 numbers them
_HEAD = struct.Struct("<BII")  # order of bytes, kind, number of parts
_COUNT = struct.Struct("<I")

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


class Footprint(NamedTuple):
    """The ground of one chip.

    Attributes:
        wkb: a polygon, counter-clockwise; of two parts where the chip lies across the antimeridian.
        bounds: of all parts in the plane: such a chip spans from -180 to 180.
    """

    wkb: bytes
    bounds: Bounds


def footprints(ground: Ground, grid: Grid, rows: Indices, columns: Indices) -> list[Footprint | None]:
    """Of the chips in those rows and columns of the grid, [N] each; their part beyond the edge is no ground.

    None: the chip holds a pole, which no polygon in longitude and latitude can.

    Raises:
        DataError: the coordinates cannot be converted to longitude and latitude.
    """
    top, bottom = _sides(grid.rows, rows)
    left, right = _sides(grid.columns, columns)
    x = np.stack([left, left, right, right], axis=1)
    y = np.stack([top, bottom, bottom, top], axis=1)
    longitude, latitude = (each.reshape(x.shape) for each in ground.degrees(x.ravel(), y.ravel()))
    return [_footprint(ring) for ring in np.round(np.stack([longitude, latitude], axis=2), _DECIMALS)]


def _sides(axis: Axis, chips: Indices) -> tuple[Floats, Floats]:
    """First and last edge of chips inside the scene, in its pixels."""
    first = chips * axis.stride
    last = np.minimum(first + axis.chip, axis.length)
    return (first * axis.step).astype(np.float64), (last * axis.step).astype(np.float64)


def _footprint(corners: Floats) -> Footprint | None:
    """Of four corners, [4, 2]."""
    around = np.diff(corners[[0, 1, 2, 3, 0], 0])
    if (around - 360 * np.rint(around / 360)).sum().round():
        return None
    ring = corners.copy()
    ring[:, 0] += 360 * np.rint((ring[0, 0] - ring[:, 0]) / 360)  # on one side of the antimeridian
    parts = list(_within_degrees(ring if _area(ring) > 0 else ring[::-1]))
    points = np.concatenate(parts)
    west, south = (float(each) for each in points.min(axis=0))
    east, north = (float(each) for each in points.max(axis=0))
    polygons = [_polygon(part) for part in parts]
    wkb = polygons[0] if len(parts) == 1 else _HEAD.pack(_LITTLE, _MULTIPOLYGON, len(parts)) + b"".join(polygons)
    return Footprint(wkb, (west, south, east, north))


def _within_degrees(ring: Floats) -> Iterator[Floats]:
    """The parts of a ring between -180 and 180 degrees."""
    if ring[:, 0].min() >= -180 and ring[:, 0].max() <= 180:
        yield ring
        return
    turned = ring + np.array([360.0 * (ring[:, 0].min() < -180), 0.0])
    for side, shift in ((-1, 0.0), (1, -360.0)):
        part = _clipped(turned, side)
        if len(part) and _area(part) > 0:
            yield np.round(part + np.array([shift, 0.0]), _DECIMALS)


def _clipped(ring: Floats, side: int) -> Floats:
    """What lies west (-1) or east (1) of 180 degrees: Sutherland and Hodgman, CACM 17 (1974), for one line."""
    kept = []
    for here, there in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        is_kept, is_next_kept = side * (here[0] - 180) >= 0, side * (there[0] - 180) >= 0
        if is_kept:
            kept.append(here)
        if is_kept != is_next_kept:
            share = (180 - here[0]) / (there[0] - here[0])
            kept.append(np.array([180.0, here[1] + share * (there[1] - here[1])]))
    return np.array(kept).reshape(-1, 2)


def _area(ring: Floats) -> float:
    """Square degrees, positive where the ring runs counter-clockwise."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _polygon(ring: npt.NDArray[np.float64]) -> bytes:
    closed = np.vstack([ring, ring[:1]]).astype("<f8")
    return _HEAD.pack(_LITTLE, _POLYGON, 1) + _COUNT.pack(len(closed)) + closed.tobytes()
