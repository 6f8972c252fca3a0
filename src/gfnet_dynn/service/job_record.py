"""What is known of a map job, in memory and in its file `job.json`."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gfnet_dynn.errors import OptionError, StorageError
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.service.job_settings import JobSettings
from gfnet_dynn.system.storage import write_json
from gfnet_dynn.system.structured import structured_file

JobStatus = Literal["accepted", "running", "successful", "failed", "dismissed"]
"""As OGC API Processes names them."""

RESULTS = {
    "class": ("map.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
    "confidence": ("map_confidence.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
    "exit": ("map_exit.tif", "image/tiff; application=geotiff; profile=cloud-optimized"),
    "png": ("map.png", "image/png"),
    "classes": ("map.tif.aux.xml", "application/xml"),
    "style": ("map.qml", "application/xml"),
}
"""Name and media type of each file that a job leaves: no other can be asked for."""

SHORTEST_M, LONGEST_M = 0.001, 1_000_000.0
"""Metres that a client may give."""

_RECORD, _SCENE, _RESULTS = "job.json", "scene", "results"
_PARAMETER = re.compile(r"--(model|policy|gsd|bands|scale|stride)\b")


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """What a client asks for, as in `MapRequest`; bands and scale as text."""

    model: str | None = None
    policy: str | None = None
    gsd: float | None = None
    bands: str | None = None
    scale: str | None = None
    stride: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("gsd", self.gsd), ("stride", self.stride)):
            if value is not None and not SHORTEST_M <= value <= LONGEST_M:
                raise OptionError(f"`{name}` must be from {SHORTEST_M:g} to {LONGEST_M:,.0f} metres, not {value:g}")


@dataclass(frozen=True)
class MappedClass:
    """Area of one class: square kilometres, share from 0 to 1, and limits of the share by the policy's guarantee."""

    name: str
    km2: float
    share: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class MappedExit:
    """One exit: its name, the chips that took it, and multiply-accumulates of one."""

    name: str
    chips: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class MapSummary:
    """A finished map in numbers.

    Attributes:
        areas: of each class of the model.
        exits: chips that took each.
        macs_share: multiply-accumulates as a share of those of the full network.
        guarantee: statement of the policy that bounds the intervals; empty: none.
        cells: rows and columns of the maps.
        cell_m: width and height of a cell, in metres.
        chip_m: side of a chip, in metres.
        seconds: that the work took.
        unreadable_pixels: of the scene; they are nodata in the maps.
        notes: what to mind.
    """

    areas: tuple[MappedClass, ...]
    exits: tuple[MappedExit, ...]
    macs_share: float
    guarantee: str
    cells: tuple[int, int]
    cell_m: tuple[float, float]
    chip_m: float
    seconds: float
    unreadable_pixels: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job at one moment; each change makes a new record.

    Attributes:
        id: unguessable, and the name of its folder.
        name: of the scene, for display only.
        options: what was asked for.
        status: as OGC API Processes names it.
        progress: per cent.
        message: what is being done, or why it failed.
        created: when the scene had arrived.
        started: when work on it began, for the first time.
        finished: when it succeeded, failed or was dismissed.
        starts: how often work began without a single block finished since.
        summary: of a successful job.
    """

    id: str
    name: str
    options: MapOptions
    created: datetime
    status: JobStatus = "accepted"
    progress: int = 0
    message: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    starts: int = 0
    summary: MapSummary | None = None


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class JobFolder:
    """The files of one job. The scene has a folder of its own, where GDAL finds no other file."""

    path: Path

    @property
    def scene(self) -> Path:
        """The uploaded scene."""
        return self.path / _SCENE / "scene.tif"

    def result(self, key: str) -> Path:
        """A file that the job leaves, by its key in `RESULTS`."""
        return self.path / _RESULTS / RESULTS[key][0]

    def make(self) -> None:
        """Create the folders, for this user alone; raises OSError."""
        for folder in (self.path, self.scene.parent, self.path / _RESULTS):
            folder.mkdir(mode=0o700)

    def bytes(self) -> int:
        """Size of all files in it."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def write(self, record: JobRecord) -> None:
        """Keep what is known of the job, in one step; raises StorageError."""
        write_json(self.path / _RECORD, asdict(record))

    def read(self) -> JobRecord | None:
        """What was kept; None: nothing, as an upload that was cut off leaves it. Raises StorageError: damaged."""
        file = self.path / _RECORD
        return structured_file(JobRecord, file, StorageError) if file.exists() else None

    def forget(self) -> None:
        """Remove the record: from now on the folder is one that nobody knows."""
        with suppress(OSError):
            (self.path / _RECORD).unlink()

    def request(self, options: MapOptions, settings: JobSettings, bundle: Path | None) -> MapRequest:
        """The request of the map; raises OptionError for options that cannot be parsed."""
        return MapRequest(
            bundle=bundle,
            scene=self.scene,
            output=self.result("class"),
            png=self.result("png"),
            policy=options.policy,
            gsd=options.gsd,
            stride=options.stride,
            bands=options.bands,  # type: ignore[arg-type] # text is parsed, see `gfnet_dynn.options.lenient`
            scale=options.scale,  # type: ignore[arg-type]
            engine=settings.engine,
            precision=settings.precision,
            threads=settings.threads,
            max_memory=settings.max_memory,
        )

    def for_client(self, message: str, name: str) -> str:
        """A message without paths of this device, and with names of query parameters in place of options."""
        scene = rf"{re.escape(str(self.scene))}|\b{re.escape(self.scene.name)}\b"
        shown = re.sub(scene, lambda _: name, message).replace(f"{self.path}/", "")
        return _PARAMETER.sub(r"`\1`", shown)
