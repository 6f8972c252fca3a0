"""The work of a map job. Imported where it is needed only: it needs the extra `geo`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.errors import DataError, OptionError, nearest
from gfnet_dynn.geo.mapping import map_dataset
from gfnet_dynn.geo.plan import ScenePlan, choose_bundle, plan_scene
from gfnet_dynn.geo.raster import choose_bands, name_of, opened
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.geo.result import MapResult
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.service.job_record import MappedClass, MappedExit, MapSummary
from gfnet_dynn.service.job_settings import JobSettings

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def check_scene(request: MapRequest, settings: JobSettings) -> None:
    """Refuse what opening alone shows cannot be mapped, or would take too much.

    Raises:
        BundleError: the bundle is damaged.
        DataError: no GeoTIFF, damaged, larger than the limits, without a place on Earth, or bands that are not clear.
        ModelChoiceError: no model is named, and no built-in one suits the scene.
        OptionError: no such band or policy, or a stride so short that the map had too many cells.
    """
    assert request.scene is not None
    with request.scene.open("rb") as file:
        if file.read(4) not in _TIFF:  # other drivers of GDAL, such as VRT, open whatever files they are told
            raise DataError(f"{request.scene} is not a TIFF: send a GeoTIFF")
    with opened(request.scene) as dataset:
        _require_own_content(dataset)
        _require_size(dataset, settings)
        scene = plan_scene(dataset, request.gsd)
        bundle, _ = choose_bundle(request, scene, name_of(dataset))
        _require_policy(request, read_bundle(bundle).manifest)
        bands = choose_bands(dataset, request.bands)
        _require_blocks(dataset, bands, settings)
        _require_cells(request, scene, (dataset.height, dataset.width), settings)


def _require_own_content(dataset: Any) -> None:
    """Refuse a TIFF that sends GDAL to another file or address for its overviews: they would be read in its place."""
    if dataset.driver != "GTiff" or any(key.upper() == "OVERVIEW_FILE" for key in dataset.tags(ns="OVERVIEWS")):
        raise DataError(f"{name_of(dataset)} refers to another file: write it anew, such as `gdal_translate -of COG`")


def _require_policy(request: MapRequest, manifest: Manifest) -> None:
    names = [policy.name for policy in manifest.policies]
    if request.policy is not None and request.policy not in names:
        raise OptionError(
            f"--policy: {manifest.model} has no policy {request.policy!r}; {nearest(request.policy, names)}"
        )


def _require_size(dataset: Any, settings: JobSettings) -> None:
    pixels = dataset.width * dataset.height
    if pixels > settings.scene_pixels:
        raise DataError(
            f"{name_of(dataset)} has {dataset.width:,} × {dataset.height:,} pixels, and this service takes up to "
            f"{settings.scene_pixels:,}: cut it into parts"
        )


def _require_blocks(dataset: Any, bands: tuple[int, ...], settings: JobSettings) -> None:
    """A block is decoded whole, all bands of it where they are interleaved."""
    height, width = dataset.block_shapes[bands[0] - 1]
    held = height * width * dataset.count * np.dtype(dataset.dtypes[bands[0] - 1]).itemsize
    if held > settings.block_bytes:
        raise DataError(
            f"{name_of(dataset)} is stored in blocks of {width:,} × {height:,} pixels, {held / 2**20:,.0f} MiB each: "
            "write it anew with smaller ones, such as `gdal_translate -of COG`"
        )


def _require_cells(request: MapRequest, scene: ScenePlan, shape: tuple[int, int], settings: JobSettings) -> None:
    """Only a stride that is given can be short: the model's own is half of what the network sees."""
    if request.stride is None:
        return
    sides = (pixels * gsd / request.stride for pixels, gsd in zip(shape, scene.gsd_m[::-1], strict=True))
    cells = math.prod(sides)
    if cells > settings.cells:
        raise OptionError(
            f"--stride {request.stride:g} gives a map of {cells:,.0f} cells, and this service makes up to "
            f"{settings.cells:,}: give a longer one"
        )


def make_map(request: MapRequest, on_progress: OnProgress) -> MapSummary:
    """Make all files of the request; raises what `map_dataset` does, and what `on_progress` does between two blocks."""
    log: list[str] = []
    assert request.scene is not None
    with opened(request.scene) as dataset:
        result = map_dataset(request, dataset, on_progress, log.append)
    return _summary(result, log)


def _summary(result: MapResult, log: list[str]) -> MapSummary:
    return MapSummary(
        areas=tuple(MappedClass(each.name, each.km2, each.share, each.interval) for each in result.areas),
        exits=tuple(MappedExit(each.name, each.chips, each.macs) for each in result.exits),
        macs_share=result.macs_share,
        guarantee=result.guarantee,
        cells=result.cells,
        cell_m=result.cell_m,
        chip_m=result.chip_m,
        seconds=result.times.seconds,
        unreadable_pixels=result.unreadable.pixels if result.unreadable else 0,
        notes=(*log, *result.notes()),
    )
