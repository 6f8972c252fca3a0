"""Opening a scene: what it must have, which bands are red, green and blue, and how its samples become bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, OptionError, nearest
from gfnet_dynn.wording import counted, some

_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_KINDS = "uif"  # of samples: unsigned and signed integers, floating point


@dataclass(frozen=True)
class SceneArray:
    """A scene in memory.

    Attributes:
        pixels: [bands, height, width].
        transform: from column and row to coordinates, as rasterio has it.
        crs: their coordinate reference system, such as `EPSG:32618`.
        nodata: value of samples that are none.
    """

    pixels: npt.NDArray[Any]
    transform: Affine
    crs: Any
    nodata: float | None = None


Scene: TypeAlias = Path | DatasetReader | SceneArray
"""A file, an open dataset that nothing else reads meanwhile, or an array."""


@contextmanager
def opened(scene: Scene) -> Iterator[DatasetReader]:
    """The dataset of a scene; raises DataError: missing, no raster, or damaged."""
    if isinstance(scene, DatasetReader):
        yield scene
        return
    with ExitStack() as stack:
        yield stack.enter_context(_of_array(scene) if isinstance(scene, SceneArray) else _of_file(scene))


def _of_file(path: Path) -> DatasetReader:
    if not path.exists():
        raise DataError(f"no scene at {printable(path)}: name a GeoTIFF or another georeferenced raster")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # refused below, with what to do
            return rasterio.open(path)
    except (RasterioError, OSError) as error:
        raise DataError(
            f"cannot open the scene {printable(path)}: {printable(error)}; is it a raster, and complete?"
        ) from error


@contextmanager
def _of_array(scene: SceneArray) -> Iterator[DatasetReader]:
    if scene.pixels.ndim != 3 or not scene.pixels.size:
        raise DataError(f"a scene in memory is [bands, height, width], not {scene.pixels.shape}")
    bands, height, width = scene.pixels.shape
    profile = {"driver": "GTiff", "tiled": True, "count": bands, "height": height, "width": width}
    more = {"dtype": scene.pixels.dtype, "transform": scene.transform, "crs": scene.crs, "nodata": scene.nodata}
    if bands in (3, 4):
        profile["photometric"] = "RGB"
    with MemoryFile() as memory:
        with memory.open(**profile, **more) as target:
            target.write(scene.pixels)
        with memory.open() as dataset:
            yield dataset


def name_of(dataset: DatasetReader) -> str:
    """How messages call the scene."""
    return "the scene in memory" if dataset.name.startswith("/vsimem/") else printable(dataset.name)


def require_georeference(dataset: DatasetReader) -> None:
    """Refuse a scene that states no place on Earth; raises DataError."""
    if dataset.crs is None:
        points = dataset.gcps[0] if dataset.gcps else []
        hint = (
            "it has ground control points only: warp it first, such as `rio warp SCENE NEW.tif --dst-crs EPSG:…`"
            if points
            else "set the one that it was made in, such as `rio edit-info SCENE --crs EPSG:32632`"
        )
        raise DataError(f"{name_of(dataset)} has no coordinate reference system, so its map would lie nowhere: {hint}")
    if dataset.transform.is_identity or dataset.transform.is_degenerate:
        raise DataError(
            f"{name_of(dataset)} does not say where its pixels lie: set it, such as `rio edit-info SCENE --transform …`"
        )


def choose_bands(dataset: DatasetReader, wanted: tuple[str, ...] | None) -> tuple[int, ...]:
    """Numbers of the bands for red, green and blue, counted from 1.

    Raises:
        DataError: the scene does not say which they are, or has samples of a kind that is no picture.
        OptionError: it has no such band.
    """
    chosen = _stated(dataset) if wanted is None else tuple(_band(dataset, each) for each in wanted)
    kinds = {dataset.dtypes[band - 1] for band in chosen}
    if len(kinds) > 1 or np.dtype(next(iter(kinds))).kind not in _KINDS:
        raise DataError(f"{name_of(dataset)} has samples of {some(sorted(kinds))}: give three bands of one real type")
    return chosen


def _stated(dataset: DatasetReader) -> tuple[int, ...]:
    name, colours = name_of(dataset), list(dataset.colorinterp)
    if dataset.count == 1 and colours[0] == ColorInterp.palette:
        raise DataError(f"{name} has a palette in place of colours: expand it, such as `gdal_translate -expand rgb`")
    if dataset.count <= 2:
        raise DataError(
            f"{name} has one band of grey, and models take colours: give --bands 1,1,1 to take it all the same"
        )
    if dataset.count <= 4 and all(colours.count(colour) == 1 for colour in _COLOURS):
        return tuple(colours.index(colour) + 1 for colour in _COLOURS)
    described = [f"{number} {text}" for number, text in enumerate(dataset.descriptions, 1) if text]
    raise DataError(
        f"{name} has {counted(dataset.count, 'band')} and does not say which are red, green and blue: give --bands by "
        f"number, such as 4,3,2{f', or by description ({some(described, 13)})' if described else ''}"
    )


def _band(dataset: DatasetReader, wanted: str) -> int:
    if wanted.isdecimal() and 1 <= int(wanted) <= dataset.count:
        return int(wanted)
    described = {(text or "").casefold(): number for number, text in enumerate(dataset.descriptions, 1)}
    if wanted and wanted.casefold() in described:
        return described[wanted.casefold()]
    named = [text for text in dataset.descriptions if text]
    hint = f"; {nearest(wanted, named)}" if named else ""
    raise OptionError(f"--bands: {name_of(dataset)} has no band {wanted!r}, but 1 to {dataset.count}{hint}")
