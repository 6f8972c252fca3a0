"""Small scenes, made here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.workflows import map_scene

CRS = "EPSG:32632"
ORIGIN = (500_000.0, 5_400_000.0)
GSD_M = 10.0
PLACE = Affine.translation(*ORIGIN) @ Affine.scale(GSD_M, -GSD_M)

Pixels = npt.NDArray[Any]


def pixels(height: int = 70, width: int = 90, seed: int = 0) -> Pixels:
    """A scene of soft patches from dark to bright, each with a tint: uint8 [3, height, width]."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (3, height // 10 + 2, width // 10 + 2))
    fine = coarse.repeat(10, axis=1).repeat(10, axis=2)[:, :height, :width]
    return (fine + generator.uniform(-15, 15, fine.shape)).clip(0, 255).astype(np.uint8)


def write_scene(path: Path, values: Pixels | None = None, **profile: Any) -> Path:
    """A GeoTIFF of [bands, height, width] with a grid of 16 px blocks; other settings replace those."""
    values = pixels() if values is None else values
    count, height, width = values.shape
    settings: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "count": count,
        "height": height,
        "width": width,
        "crs": CRS,
        "transform": PLACE,
        "tiled": True,
        "blockxsize": 16,
        "blockysize": 16,
        **({"photometric": "RGB"} if count in (3, 4) else {}),
    }
    descriptions = profile.pop("descriptions", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # some are meant to be so
        target = rasterio.open(path, "w", **{**settings, **profile})
    with target as dataset:
        dataset.write(values)
        if descriptions:
            dataset.descriptions = descriptions
    return path


def read_map(path: Path) -> npt.NDArray[np.uint8]:
    """The values of a map, [rows, columns]."""
    with rasterio.open(path) as dataset:
        values: npt.NDArray[np.uint8] = dataset.read(1)
    return values


def map_by_chip(scene: Path) -> None:
    """`map.tif` and those beside it, of tiny.gfd, with each chip's own answer."""
    map_scene(
        MapRequest(
            bundle=Path("tiny.gfd"), scene=scene, output=Path("map.tif"), blend=False, precision="fp32", threads=1
        )
    )
