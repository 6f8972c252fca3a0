"""Samples of a scene as bytes and a mask, with one scale for the whole scene, so that neighbouring chips agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.raster import name_of
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.geo.vrt import Part, missing_parts
from gfnet_dynn.images.samples import stretched

_SAMPLED = 1_000_000  # pixels, evenly spread, from which percentiles are taken
_HALF = 128  # of 255: how much of an averaged pixel is valid

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """How a scene's samples become red, green and blue bytes.

    Attributes:
        bands: numbers of the three bands, counted from 1.
        stretch: samples that become 0 and 255; None: bytes as they are.
        missing: parts of the scene whose files are missing.
    """

    bands: tuple[int, ...]
    stretch: tuple[float, float] | None
    missing: tuple[Part, ...] = ()

    def read(self, dataset: DatasetReader, window: Window, shape: tuple[int, int]) -> tuple[Bytes, Mask]:
        """Bytes [height, width, 3] and where they are valid [height, width]; raises what rasterio does.

        `shape` is smaller than the window where pixels are averaged.
        """
        averaged = shape != (window.height, window.width)
        resampling = Resampling.average if averaged else Resampling.nearest
        found = dataset.read(self.bands, window=window, out_shape=(3, *shape), resampling=resampling)
        valid = _valid(dataset, self.bands, window, shape)
        if found.dtype.kind == "f":
            valid = valid & np.isfinite(found).all(axis=0)
        pixels = np.ascontiguousarray(np.moveaxis(found, 0, -1))
        return np.asarray(pixels, np.uint8) if self.stretch is None else stretched(pixels, self.stretch), valid


def _valid(dataset: DatasetReader, bands: tuple[int, ...], window: Window, shape: tuple[int, int]) -> Mask:
    """Where any of the bands has a sample: a colour may have the value of nodata in one band."""
    shared = [flags for band in bands for flags in dataset.mask_flag_enums[band - 1]]
    if all(flag == MaskFlags.all_valid for flag in shared):
        return np.ones(shape, np.bool_)
    asked = bands[:1] if MaskFlags.per_dataset in shared else tuple(sorted(set(bands)))
    masks = dataset.read_masks(asked, window=window, out_shape=(len(asked), *shape), resampling=Resampling.average)
    return np.asarray((masks >= _HALF).any(axis=0))


def make_samples(
    dataset: DatasetReader, bands: tuple[int, ...], scale: Scale | None, stretch: tuple[float, float] | None
) -> Samples:
    """The scale that is asked for, else the model's own; bytes stay as they are.

    Raises:
        DataError: samples of more than 8 bit without any scale, or no valid ones to take percentiles of.
    """
    kind, missing = np.dtype(dataset.dtypes[bands[0] - 1]), missing_parts(dataset, bands)
    if scale is not None:
        values = _percentiles(dataset, bands, scale) if scale.of_samples else (scale.low, scale.high)
        return Samples(bands, values, missing)
    if kind == np.uint8:
        return Samples(bands, None, missing)
    if stretch is None:
        raise DataError(
            f"{name_of(dataset)} has {kind} samples, and the model does not say what is black and white: give --scale "
            "LOW,HIGH, the values for both, or --scale 2%,98%"
        )
    return Samples(bands, stretch, missing)


def _percentiles(dataset: DatasetReader, bands: tuple[int, ...], scale: Scale) -> tuple[float, float]:
    """Two values for all three bands, so that colours keep their relation."""
    step = max(1, math.ceil(math.sqrt(dataset.width * dataset.height / _SAMPLED)))
    shape = (max(1, dataset.height // step), max(1, dataset.width // step))
    window = Window(0, 0, dataset.width, dataset.height)
    found = dataset.read(bands, out_shape=(3, *shape))
    values = found[:, _valid(dataset, bands, window, shape)].astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        raise DataError(f"{name_of(dataset)} has no valid sample to take percentiles of: is all of it nodata?")
    low, high = (float(each) for each in np.quantile(values, [scale.low, scale.high]))
    if not low < high:
        raise DataError(f"--scale {scale}: both percentiles of {name_of(dataset)} are {low:g}; give two values")
    return low, high
