"""The chips of a scene one by one, with their place on the ground: the same that a map is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.footprint import Footprint, footprints
from gfnet_dynn.geo.grid import Grid, Unit
from gfnet_dynn.geo.plan import ScenePlan, plan_scene, scene_grid, scene_samples
from gfnet_dynn.geo.raster import opened
from gfnet_dynn.geo.reading import read_chips
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.geo.samples import Bytes, Samples

_CACHE = 64 * 2**20  # bytes of blocks that GDAL keeps
_REMOTE: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no requests for files beside the scene
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    "GDAL_HTTP_LOW_SPEED_TIME": 60,  # seconds at less than the speed
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,  # bytes a second
}


@dataclass(frozen=True)
class ChipRule:
    """How scenes are cut into chips for a model, and how their samples become bytes.

    Attributes:
        network_px: side of what the network takes, without padding.
        stretch: of the model: samples that become 0 and 255; None: it takes bytes only.
        chip_m: side of a chip; None: as many pixels as the network takes.
        stride_m: from chip to chip; None: a chip.
        bands: as `--bands`; None: as a scene states.
        scale: as `--scale`, in place of the stretch.
        gsd_m: in place of what a scene states.
    """

    network_px: int
    stretch: tuple[float, float] | None = None
    chip_m: float | None = None
    stride_m: float | None = None
    bands: tuple[str, ...] | None = None
    scale: Scale | None = None
    gsd_m: float | None = None


@dataclass(frozen=True)
class ChipPlan:
    """Where the chips of one scene lie, and how its samples become bytes."""

    scene: ScenePlan
    samples: Samples
    grid: Grid

    @property
    def crs(self) -> str:
        """The scene's coordinate reference system: `EPSG:…`, or WKT where it has no number."""
        crs = self.scene.ground.crs
        number = crs.to_epsg()
        return f"EPSG:{number}" if number else str(crs.to_wkt())

    def footprints(self, unit: Unit) -> list[list[Footprint | None]]:
        """Of all chips of a unit, by row and column within it; raises DataError: their place is not known."""
        rows = np.arange(unit.row, min(unit.row + self.grid.side, self.grid.rows.chips))
        columns = np.arange(unit.column, min(unit.column + self.grid.side, self.grid.columns.chips))
        if not len(rows) or not len(columns):
            return []  # a unit at the edge may have cells alone
        down, across = (each.ravel() for each in np.meshgrid(rows, columns, indexing="ij"))
        found = footprints(self.scene.ground, self.grid, down, across)
        return [found[first : first + len(columns)] for first in range(0, len(found), len(columns))]


class PlacedChip(NamedTuple):
    """A chip of a scene.

    Attributes:
        row: in the scene's grid of chips, from 0 at its origin.
        column: likewise.
        pixels: uint8 [height, width, 3]; None: it has no valid pixel, and some that cannot be read.
        validity: share of valid pixels.
        readable: share of pixels that can be read.
        footprint: the ground it covers; None: it holds a pole.
    """

    row: int
    column: int
    pixels: Bytes | None
    validity: float
    readable: float
    footprint: Footprint | None


@dataclass(frozen=True)
class ChipScene:
    """An open scene, and where its chips lie."""

    address: str
    dataset: DatasetReader
    plan: ChipPlan

    def chips(self, unit: Unit) -> Iterator[PlacedChip]:
        """As `chips_of`."""
        with reading(self.address):
            return chips_of(self.dataset, self.plan, unit)


@contextmanager
def open_chips(address: str, rule: ChipRule) -> Iterator[ChipScene]:
    """Open a scene by its path or URL; raises DataError, OptionError as `opened_at` and `plan_chips`."""
    with opened_at(address) as dataset:
        with reading(address):
            plan = plan_chips(dataset, rule)
        yield ChipScene(address, dataset, plan)


@contextmanager
def opened_at(address: str) -> Iterator[DatasetReader]:
    """A scene by its path, or a GeoTIFF by its URL; raises DataError: missing, unreachable, no raster, or damaged."""
    if "://" not in address:
        with opened(Path(address)) as dataset:
            yield dataset
        return
    try:
        with reading(address):
            dataset = rasterio.open(address, driver="GTiff")  # no other driver, as some open further files
    except (RasterioError, OSError) as error:
        raise DataError(f"cannot open the scene {printable(address)}: {printable(error)}") from error
    with dataset:
        yield dataset


def reading(address: str) -> rasterio.Env:
    """Settings of GDAL while a scene is read: little memory, and requests that end."""
    return rasterio.Env(GDAL_CACHEMAX=_CACHE, **(_REMOTE if "://" in address else {}))


def plan_chips(dataset: DatasetReader, rule: ChipRule) -> ChipPlan:
    """Decide for one scene what `map` does.

    Raises:
        DataError: the scene cannot be mapped.
        OptionError: options that do not fit the scene.
    """
    scene = plan_scene(dataset, rule.gsd_m)
    samples = scene_samples(dataset, rule.bands, rule.scale, rule.stretch)
    chip_m = rule.chip_m or rule.network_px * scene.coarser_m
    return ChipPlan(scene, samples, scene_grid(dataset, scene, chip_m, rule.stride_m or chip_m, rule.network_px))


def chips_of(dataset: DatasetReader, plan: ChipPlan, unit: Unit) -> Iterator[PlacedChip]:
    """The chips of a unit with any valid pixel, and those that cannot be read, row by row; they are read at once.

    Raises:
        DataError: their place on Earth is not known.
    """
    places = plan.footprints(unit)
    if not places:
        return iter(())
    cut = read_chips(dataset, plan.samples, plan.grid, unit)
    return (
        PlacedChip(
            unit.row + each.row,
            unit.column + each.column,
            each.pixels if each.validity else None,
            each.validity,
            each.readable,
            places[each.row][each.column],
        )
        for each in cut
        if each.validity or each.readable < 1
    )
