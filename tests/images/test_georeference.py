from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, TiffImagePlugin

from gfnet_dynn.images.georeference import ground_sampling_distance

DOUBLE, SHORT = 12, 3
PROJECTED, GEOGRAPHIC, METRE, FOOT, DEGREE = 1, 2, 9001, 9002, 9102


def write(path: Path, scale: tuple[float, ...] | None, keys: dict[int, int], matrix: tuple[float, ...] = ()) -> Path:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    directory = [1, 1, 0, len(keys)]
    for key, value in keys.items():
        directory += [key, 0, 1, value]
    values: list[tuple[int, int, Any]] = [(34735, SHORT, tuple(directory))]
    values += [(33550, DOUBLE, scale)] if scale else []
    values += [(34264, DOUBLE, matrix)] if matrix else []
    for tag, kind, value in values:
        tags.tagtype[tag] = kind
        tags[tag] = value
    Image.new("RGB", (4, 4)).save(path, tiffinfo=tags)
    return path


@pytest.mark.parametrize(
    ("scale", "keys", "metres"),
    [
        ((10.0, 10.0, 0.0), {1024: PROJECTED, 3076: METRE}, 10),
        ((0.3, 0.4, 0.0), {1024: PROJECTED}, 0.4),  # metres are the default; rows count
        ((1.0, 1.0, 0.0), {1024: PROJECTED, 3076: FOOT}, 0.3048),
        ((9e-5, 9e-5, 0.0), {1024: GEOGRAPHIC, 2054: DEGREE}, 10.0),
        ((10.0, 10.0, 0.0), {1024: PROJECTED, 3076: 9036}, None),  # kilometres, which nobody uses: not guessed
        ((10.0, 10.0, 0.0), {}, None),
        ((0.0, 0.0, 0.0), {1024: PROJECTED}, None),
        (None, {1024: PROJECTED}, None),
    ],
)
def test_metres_per_pixel(
    tmp_path: Path, scale: tuple[float, ...] | None, keys: dict[int, int], metres: float | None
) -> None:
    found = ground_sampling_distance(write(tmp_path / "a.tif", scale, keys))
    assert found == (metres if metres is None else pytest.approx(metres, rel=1e-3))


def test_a_rotated_raster_has_a_matrix(tmp_path: Path) -> None:
    matrix = (3.0, -4.0, 0.0, 1e5, 4.0, 3.0, 0.0, 2e6, *[0.0] * 7, 1.0)
    assert ground_sampling_distance(write(tmp_path / "a.tif", None, {1024: PROJECTED}, matrix)) == pytest.approx(5)


def test_what_states_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.tif")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    (tmp_path / "damaged.tif").write_bytes(b"II*\0" + bytes(range(40)))
    for name in ("plain.tif", "photo.jpg", "damaged.tif", "missing.tif", "."):
        assert ground_sampling_distance(tmp_path / name) is None


def test_real_scenes(shared: Callable[[str], Path]) -> None:
    folder = shared("data/geotiff")
    found = {path.name: ground_sampling_distance(path) for path in folder.glob("*.tif")}
    assert found["s2_rgb_1933x1947_10m_utm18.tif"] == 10
    assert found["riotiler_pix4d_alpha_nodata.tif"] == pytest.approx(0.3527, abs=1e-4)
    assert found["rasterio_RGB.byte.tif"] == pytest.approx(300.04, abs=0.01)
