"""From a plan to the records of all units, then to the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import DatasetReader

from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.ahead import MemoryShare, done_ahead
from gfnet_dynn.geo.areas import AreaCount
from gfnet_dynn.geo.blend import NODATA, cell_rows
from gfnet_dynn.geo.grid import Unit
from gfnet_dynn.geo.inference import ChipInference
from gfnet_dynn.geo.journal import Journal, Record
from gfnet_dynn.geo.plan import MapPlan
from gfnet_dynn.geo.products import Maps
from gfnet_dynn.geo.reading import UnitPixels, read_unit
from gfnet_dynn.progress import OnProgress

_TITLE = "mapping"


class Tally:
    """What the records of all units add up to."""

    def __init__(self, num_exits: int) -> None:
        self.exits = np.zeros(num_exits, np.int64)
        self.unreadable = 0
        self.first_unreadable = (0, 0)

    def add(self, record: Record) -> None:
        """Count one unit."""
        taken = record["exits"][record["exits"] != NODATA]
        self.exits += np.bincount(taken, minlength=len(self.exits))
        if record["unreadable"] and not self.unreadable:
            column, row = map(int, record["first_unreadable"])
            self.first_unreadable = (column, row)
        self.unreadable += int(record["unreadable"])


@dataclass(frozen=True)
class UnitWork:
    """Computes what a journal lacks, with units read ahead and a cache of GDAL within the memory that is allowed."""

    plan: MapPlan
    dataset: DatasetReader
    inference: ChipInference
    memory: MemoryShare

    def run(self, journal: Journal, on_progress: OnProgress) -> int:
        """Finish all units; returns how many were finished before."""
        grid, spec = self.plan.grid, self.inference.net.manifest.input
        missing = [unit for unit in grid.units() if journal.read(unit.index) is None]
        before = grid.num_units - len(missing)
        on_progress(_TITLE, before, grid.num_units)

        def read(unit: Unit) -> UnitPixels:
            return read_unit(self.dataset, self.plan.samples, grid, spec, unit)

        with (
            rasterio.Env(GDAL_CACHEMAX=self.memory.cache_bytes),
            done_ahead(read, missing, self.memory.units_ahead) as units,
        ):
            for done, pixels in enumerate(units, before + 1):
                journal.write(pixels.unit.index, self.inference.record(pixels, grid.side))
                on_progress(_TITLE, done, grid.num_units)
        return before


def write_maps(plan: MapPlan, journal: Journal, maps: Maps) -> tuple[AreaCount, Tally]:
    """Blend the records of all units into the maps.

    Raises:
        DataError: the scene has no valid pixels.
        StorageError: no space.
    """
    areas, tally = AreaCount(plan.grid, plan.scene.ground, plan.legend), Tally(len(plan.policy.thresholds) + 1)

    def read(index: int) -> Record | None:
        record = journal.read(index)
        if record is not None:
            tally.add(record)
        return record

    with maps.writing():
        for rows in cell_rows(read, plan.grid, blend=plan.blend):
            areas.add(rows)
            maps.add(rows)
    if not areas.blocks:
        raise DataError("the scene has no valid pixels to map: is all of it nodata, or are the bands others?")
    return areas, tally


def publish(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move finished files to their names, the first one last: once it is there, all are."""
    for source, target in reversed(moves):
        source.replace(target)
