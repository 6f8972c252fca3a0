"""The maps as Cloud-Optimised GeoTIFFs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window

from gfnet_dynn.errors import StorageError
from gfnet_dynn.geo.blend import NODATA, CellRows
from gfnet_dynn.geo.legend import Entry

CLASS, CONFIDENCE, EXIT = "class", "confidence", "exit"
MAPS = (CLASS, CONFIDENCE, EXIT)

_BLOCK = 256  # pixels along a side of a block
_OVERVIEWS = {CLASS: "MODE", CONFIDENCE: "AVERAGE", EXIT: "MODE"}
_DESCRIPTIONS = {CLASS: "class", CONFIDENCE: "confidence in per cent", EXIT: "exit taken, from 1"}


@dataclass(frozen=True)
class MapFrame:
    """Size and place of a map."""

    width: int
    height: int
    transform: Affine
    crs: CRS


class Maps:
    """All three maps while they are written, plain GeoTIFFs in the work folder."""

    def __init__(self, folder: Path, frame: MapFrame, legend: Sequence[Entry], tags: Mapping[str, str]) -> None:
        self._folder, self._frame, self._legend, self._tags = folder, frame, legend, tags
        self._open: dict[str, DatasetWriter] = {}

    def path(self, kind: str) -> Path:
        """Where a map is while it is written."""
        return self._folder / f"{kind}.tif"

    @contextmanager
    def writing(self) -> Iterator[Maps]:
        """Inside, rows can be added; raises StorageError where they cannot be written."""
        with _as_storage_error(self._folder), rasterio.Env(GDAL_PAM_ENABLED=False), ExitStack() as stack:
            for kind in MAPS:
                self._open[kind] = stack.enter_context(self._create(kind))
            yield self

    def _create(self, kind: str) -> DatasetWriter:
        frame = self._frame
        place: dict[str, Any] = {
            "width": frame.width,
            "height": frame.height,
            "transform": frame.transform,
            "crs": frame.crs,
        }
        made: DatasetWriter = rasterio.open(
            self.path(kind), "w", driver="GTiff", dtype="uint8", count=1, nodata=NODATA, bigtiff="IF_SAFER", **place
        )
        made.set_band_description(1, _DESCRIPTIONS[kind])
        made.update_tags(**self._tags)
        if kind == CLASS:
            made.write_colormap(1, {entry.value: (*entry.colour, 255) for entry in self._legend})
        if kind == CONFIDENCE:
            made.units = ("%",)
        return made

    def add(self, rows: CellRows) -> None:
        """Write rows of cells into all maps."""
        layers: Mapping[str, npt.NDArray[np.uint8]] = {
            CLASS: rows.classes,
            CONFIDENCE: rows.confidences,
            EXIT: rows.exits,
        }
        for kind, values in layers.items():
            self._open[kind].write(values, 1, window=Window(0, rows.first, self._frame.width, len(values)))

    def optimise(self, kind: str) -> Path:
        """Copy a finished map into a Cloud-Optimised GeoTIFF, and compare both; raises StorageError."""
        source, target = self.path(kind), self._folder / f"{kind}_cog.tif"
        more = {
            "compress": "DEFLATE",
            "blocksize": _BLOCK,
            "bigtiff": "IF_SAFER",
            "overview_resampling": _OVERVIEWS[kind],
        }
        with _as_storage_error(self._folder), rasterio.Env(GDAL_PAM_ENABLED=False):
            copy(source, target, driver="COG", **more)
            with rasterio.open(source) as before, rasterio.open(target) as after:
                if before.checksum(1) != after.checksum(1):  # as a full disk leaves it
                    raise StorageError(
                        f"the map in {self._folder} is incomplete: free space, and run the same command again"
                    )
        with target.open("rb") as file:
            os.fsync(file.fileno())
        return target


@contextmanager
def _as_storage_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except (RasterioError, OSError) as error:
        raise StorageError(
            f"cannot write the maps into {folder}: {error}; finished blocks are kept: free space, and run the same "
            "command again"
        ) from error
