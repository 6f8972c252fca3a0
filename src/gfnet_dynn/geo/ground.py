"""How much ground a pixel covers: measured on the ellipsoid, so that any projection gives true metres.

The metre of a projection is not a metre on the ground: in web Mercator it is half as long at 60° of latitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as to_other_crs

from gfnet_dynn.errors import DataError
from gfnet_dynn.units import percent

Floats = npt.NDArray[np.float64]

_RADIUS_M, _ECCENTRICITY_2 = 6_378_137.0, 0.00669437999014  # WGS 84: equatorial radius, squared eccentricity
_DISTORTION = 0.10  # largest difference of the ground sampling distance within a scene
_SKEW = math.sin(math.radians(5))  # largest deviation of rows and columns from a right angle
_NO_PLACE = (
    "its coordinates cannot be converted to longitude and latitude, so how much ground a pixel covers is not known: "
    "give --gsd METRES"
)


@dataclass(frozen=True)
class Ground:
    """The pixels of a scene on the ground.

    Attributes:
        transform: from column and row to coordinates.
        crs: of the coordinates.
        fixed_m: ground sampling distance that replaces the measured one; None: measured.
    """

    transform: Affine
    crs: CRS
    fixed_m: float | None = None

    def sizes(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """Width, height (metres) and area (square metres) of the pixels around points, given in pixels: [N] each."""
        if self.fixed_m is not None:
            side = np.full(len(columns), self.fixed_m)
            return side, side, side**2
        right, down = self._steps(columns, rows)
        width, height = np.hypot(*right), np.hypot(*down)
        return width, height, np.abs(right[0] * down[1] - right[1] * down[0])

    def _steps(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Metres to the east and north of a step to the next column and row: [2, N] each."""
        longitude, latitude = self.degrees(columns, rows)
        bend = 1 - _ECCENTRICITY_2 * np.sin(np.radians(latitude)) ** 2
        east = _RADIUS_M / np.sqrt(bend) * np.cos(np.radians(latitude))  # metres of a radian of longitude
        north = _RADIUS_M * (1 - _ECCENTRICITY_2) / bend**1.5
        steps = []
        for column, row in ((1.0, 0.0), (0.0, 1.0)):
            there = self.degrees(columns + column, rows + row)
            across = (there[0] - longitude + 180) % 360 - 180  # the date line may lie between
            steps.append(np.stack([np.radians(across) * east, np.radians(there[1] - latitude) * north]))
        return steps[0], steps[1]

    def degrees(self, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Longitude and latitude of points in pixels, [N] each.

        Raises:
            DataError: the coordinate reference system has no known place on Earth.
        """
        turn = self.transform
        x = turn.a * columns + turn.b * rows + turn.c
        y = turn.d * columns + turn.e * rows + turn.f
        try:
            found = np.array(to_other_crs(self.crs, CRS.from_epsg(4326), x, y)[:2], np.float64)
        except Exception as error:  # rasterio raises classes of its private modules too
            raise DataError(_NO_PLACE) from error
        if not np.isfinite(found).all():
            raise DataError(_NO_PLACE)
        return found[0], found[1]


def measure(ground: Ground, width: int, height: int) -> tuple[float, float]:
    """Metres from column to column and from row to row at the centre of a scene of so many pixels.

    Raises:
        DataError: they differ too much within the scene, or rows and columns are not at right angles.
    """
    columns = np.array([width / 2, 0, width - 1, 0, width - 1])
    rows = np.array([height / 2, 0, 0, height - 1, height - 1])
    across, along, areas = ground.sizes(columns, rows)
    furthest = max(float(np.abs(each / each[0] - 1).max()) for each in (across, along))
    if furthest > _DISTORTION:
        raise DataError(
            f"its pixels differ in size on the ground by {percent(furthest, 0)} between its centre and a corner, so "
            f"chips would not all cover the same ground: {_advice(ground, columns[:1], rows[:1])}"
        )
    if areas[0] < math.sqrt(1 - _SKEW**2) * across[0] * along[0]:
        raise DataError(f"its rows and columns are not at right angles: {_advice(ground, columns[:1], rows[:1])}")
    return float(across[0]), float(along[0])


def _advice(ground: Ground, column: Floats, row: Floats) -> str:
    longitude, latitude = ground.degrees(column, row)
    zone = min(60, int((longitude[0] + 180) // 6) + 1)
    code = (32600 if latitude[0] >= 0 else 32700) + zone
    return f"reproject it first, such as `rio warp SCENE NEW.tif --dst-crs EPSG:{code}`"
