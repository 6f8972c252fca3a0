"""Opening scenes, bands and samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.windows import Window

from gfnet_dynn.errors import DataError, GFNetDynnError, OptionError
from gfnet_dynn.geo.raster import SceneArray, choose_bands, opened, require_georeference
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.geo.samples import make_samples
from gfnet_dynn.images.samples import _scaled
from tests.geo.scenes import CRS, PLACE, pixels, write_scene

WHOLE = Window(0, 0, 90, 70)
SENTINEL = [f"B{number:02}" for number in range(1, 14)]


def many(count: int, dtype: Any = np.uint16) -> Any:
    return np.concatenate([pixels(seed=seed).astype(dtype) * 10 for seed in range(-(-count // 3))])[:count]


@pytest.mark.parametrize(
    ("count", "profile", "wanted", "chosen"),
    [
        (3, {}, None, (1, 2, 3)),
        (4, {}, None, (1, 2, 3)),
        (13, {}, ("4", "3", "2"), (4, 3, 2)),
        (13, {"descriptions": SENTINEL}, ("B04", "b03", "B02"), (4, 3, 2)),
        (1, {}, ("1", "1", "1"), (1, 1, 1)),
    ],
)
def test_bands_are_found(
    tmp_path: Path, count: int, profile: dict[str, Any], wanted: tuple[str, ...] | None, chosen: tuple[int, ...]
) -> None:
    with opened(write_scene(tmp_path / "scene.tif", many(count), **profile)) as dataset:
        assert choose_bands(dataset, wanted) == chosen


@pytest.mark.parametrize(
    ("count", "profile", "wanted", "kind", "facts"),
    [
        (1, {}, None, DataError, ("scene.tif", "one band", "--bands 1,1,1")),
        (13, {}, None, DataError, ("13 bands", "--bands", "4,3,2")),
        (13, {"descriptions": SENTINEL}, None, DataError, ("13 bands", "4 B04")),
        (13, {"descriptions": SENTINEL}, ("B4", "B03", "B02"), OptionError, ("'B4'", "did you mean 'B04'")),
        (3, {}, ("4", "3", "2"), OptionError, ("'4'", "1 to 3")),
        (3, {"photometric": "MINISBLACK"}, None, DataError, ("3 bands", "--bands")),
    ],
)
def test_bands_that_are_not_clear_are_named(
    tmp_path: Path,
    count: int,
    profile: dict[str, Any],
    wanted: tuple[str, ...] | None,
    kind: type[GFNetDynnError],
    facts: tuple[str, ...],
) -> None:
    with opened(write_scene(tmp_path / "scene.tif", many(count), **profile)) as dataset:
        with pytest.raises(kind) as caught:
            choose_bands(dataset, wanted)
        assert all(fact in str(caught.value) for fact in facts), caught.value


def test_a_scene_without_a_place_is_refused(tmp_path: Path) -> None:
    for profile in ({"crs": None}, {"transform": Affine.identity()}):
        scene = write_scene(tmp_path / "scene.tif", **profile)
        with opened(scene) as dataset, pytest.raises(DataError, match=r"scene\.tif .*rio edit-info"):
            require_georeference(dataset)


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [("missing.tif", None, "no scene at"), ("empty.tif", b"", "empty.tif"), ("text.tif", b"II*\0 no", "text.tif")],
)
def test_what_is_no_raster_is_named(tmp_path: Path, name: str, content: bytes | None, fact: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=fact), opened(tmp_path / name):
        pass


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    values = pixels()
    with opened(write_scene(tmp_path / "scene.tif", values)) as dataset:
        found, valid = make_samples(dataset, (3, 2, 1), None, (0.0, 10.0)).read(dataset, WHOLE, (70, 90))
    assert (found == np.moveaxis(values[::-1], 0, -1)).all()
    assert valid.all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_wide_samples_are_scaled_as_images_are(tmp_path: Path, dtype: Any) -> None:
    values = many(3, dtype)
    with opened(write_scene(tmp_path / "scene.tif", values)) as dataset:
        found, _ = make_samples(dataset, (1, 2, 3), None, (100.0, 2000.0)).read(dataset, WHOLE, (70, 90))
    expected = np.asarray(_scaled(np.moveaxis(values, 0, -1), (100.0, 2000.0)))
    assert (found == expected).all()
    assert 0 < found.mean() < 255


def test_wide_samples_without_a_scale_are_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", many(3))
    with opened(scene) as dataset, pytest.raises(DataError, match=r"uint16 .*--scale LOW,HIGH"):
        make_samples(dataset, (1, 2, 3), None, None)


def test_percentiles_are_those_of_the_valid_samples(tmp_path: Path) -> None:
    values = many(3)
    values[:, :20] = 65535
    with opened(write_scene(tmp_path / "scene.tif", values, nodata=65535)) as dataset:
        stretch = make_samples(dataset, (1, 2, 3), Scale(0.02, 0.98, of_samples=True), None).stretch
    assert stretch == pytest.approx(tuple(np.quantile(values[:, 20:], [0.02, 0.98])))


def test_nodata_and_numbers_that_are_none_are_not_valid(tmp_path: Path) -> None:
    values = many(3, np.float32)
    values[:, :10] = -9999
    values[1, 10:20] = np.nan
    values[0, 30] = -9999  # in one band only
    with opened(write_scene(tmp_path / "scene.tif", values, nodata=-9999)) as dataset:
        _, valid = make_samples(dataset, (1, 2, 3), None, (0, 2550)).read(dataset, WHOLE, (70, 90))
    assert not valid[:20].any()
    assert valid[20:].all()


def test_alpha_is_a_mask(tmp_path: Path) -> None:
    values = np.concatenate([pixels(), np.full((1, 70, 90), 255, np.uint8)])
    values[3, :, :40] = 0
    with opened(write_scene(tmp_path / "scene.tif", values, alpha="YES")) as dataset:
        _, valid = make_samples(dataset, (1, 2, 3), None, None).read(dataset, WHOLE, (70, 90))
    assert (valid == (values[3] > 0)).all()


def test_an_average_is_one_of_the_valid_pixels(tmp_path: Path) -> None:
    values = np.full((3, 70, 90), 100, np.uint8)
    values[:, ::2] = 0
    with opened(write_scene(tmp_path / "scene.tif", values, nodata=0)) as dataset:
        found, valid = make_samples(dataset, (1, 2, 3), None, None).read(dataset, WHOLE, (35, 45))
    assert valid.all()
    assert (found == 100).all()


def test_an_array_is_a_scene() -> None:
    with opened(SceneArray(pixels(), PLACE, CRS)) as dataset:
        require_georeference(dataset)
        assert choose_bands(dataset, None) == (1, 2, 3)
        assert (dataset.read() == pixels()).all()
    with pytest.raises(DataError, match="bands, height, width"), opened(SceneArray(pixels()[0], PLACE, CRS)):
        pass
