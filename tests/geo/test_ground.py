"""Size of pixels on the ground."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.ground import Ground, measure
from tests.geo.scenes import PLACE


def ground(transform: Affine, crs: str) -> Ground:
    return Ground(transform, CRS.from_string(crs))


def test_a_metre_of_utm_is_a_metre_but_for_its_scale() -> None:
    # On the central meridian the projection shrinks lengths to 0.9996.
    assert measure(ground(PLACE, "EPSG:32632"), 100, 100) == pytest.approx((10 / 0.9996,) * 2, rel=1e-5)


def test_web_mercator_is_longer_on_paper_than_on_the_ground() -> None:
    latitude = 60.0
    northing = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    place = Affine.translation(1e6, northing) @ Affine.scale(20, -20)
    across, along = measure(ground(place, "EPSG:3857"), 10, 10)
    assert across == pytest.approx(20 * math.cos(math.radians(latitude)), rel=0.01)
    assert along == pytest.approx(across, rel=0.01)


def test_degrees_become_metres_by_their_latitude() -> None:
    place = Affine.translation(9, 60) @ Affine.scale(1e-4, -1e-4)
    across, along = measure(ground(place, "EPSG:4326"), 100, 100)
    assert across == pytest.approx(5.58, rel=0.01)  # a degree of longitude has 55.8 km there, one of latitude 111.4
    assert along == pytest.approx(11.14, rel=0.01)


def test_feet_become_metres() -> None:
    place = Affine.translation(6_000_000, 2_000_000) @ Affine.scale(1, -1)
    assert measure(ground(place, "EPSG:2227"), 100, 100)[0] == pytest.approx(0.3048, rel=0.001)  # California, US feet


def test_rotated_pixels_keep_their_size() -> None:
    turned = PLACE @ Affine.rotation(30)
    assert measure(ground(turned, "EPSG:32632"), 100, 100) == pytest.approx((10.004,) * 2, rel=1e-4)


def test_the_date_line_is_no_obstacle() -> None:
    place = Affine.translation(179.9999, 0) @ Affine.scale(1e-4, -1e-4)
    assert measure(ground(place, "EPSG:4326"), 2, 2) == pytest.approx((11.13, 11.06), rel=0.01)


def test_area_of_a_square_kilometre() -> None:
    areas = ground(PLACE, "EPSG:32632").sizes(np.arange(3.0), np.arange(3.0))[2]
    assert areas.sum() == pytest.approx(300 / 0.9996**2, rel=1e-5)


def test_a_given_distance_replaces_the_measured_one() -> None:
    assert measure(Ground(PLACE, CRS.from_epsg(32632), 3.0), 10, 10) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("place", "crs", "fact"),
    [
        (Affine.translation(0, 70) @ Affine.scale(0.01, -0.01), "EPSG:4326", r"EPSG:326\d\d"),  # 30 degrees of latitude
        (PLACE @ Affine.shear(20), "EPSG:32632", "not at right angles"),
        (PLACE, 'LOCAL_CS["site",UNIT["metre",1]]', "--gsd METRES"),
    ],
)
def test_what_no_regular_chips_can_cover_is_refused(place: Affine, crs: str, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        measure(Ground(place, CRS.from_wkt(crs) if "[" in crs else CRS.from_string(crs)), 3000, 3000)
