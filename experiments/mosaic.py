"""Scenes tiled from the images of a data set, of which the class of every place is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.windows import Window

from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import find_images

CHIP = 64  # pixels along a side
GSD_M = 10.0
CRS = "EPSG:32632"
ORIGIN = (500_000.0, 5_400_000.0)

Images = dict[str, list[Path]]
Order = Callable[[int, int], Path]
"""The image at a row and a column of a mosaic."""


def by_class(folder: Path) -> Images:
    """Images of each class, by the name of their folder."""
    found: Images = {}
    for path in find_images(folder).images:
        found.setdefault(path.parent.name, []).append(path)
    return found


def write_mosaic(target: Path, rows: int, columns: int, order: Order, *, side: int | None = None) -> Path:
    """A GeoTIFF of rows × columns images, cut to `side` pixels along each side where that is given."""
    height, width = (side or rows * CHIP), (side or columns * CHIP)
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": width, "height": height}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "DEFLATE", "photometric": "RGB"}
    place = {"crs": CRS, "transform": Affine.translation(*ORIGIN) @ Affine.scale(GSD_M, -GSD_M), "bigtiff": "IF_SAFER"}
    with rasterio.open(target, "w", **profile, **layout, **place) as dataset:
        for first in range(0, rows, 8):  # a row of blocks at once
            strip = [
                _row([order(row, column) for column in range(columns)]) for row in range(first, min(first + 8, rows))
            ]
            pixels = np.concatenate(strip)[: height - first * CHIP, :width]
            dataset.write(np.moveaxis(pixels, -1, 0), window=Window(0, first * CHIP, width, len(pixels)))
    return target


def _row(images: list[Path]) -> npt.NDArray[np.uint8]:
    return np.concatenate([read_image(path) for path in images], axis=1)
