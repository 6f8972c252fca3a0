"""The whole way from an open dataset to finished files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from gfnet_dynn.errors import StorageError
from gfnet_dynn.geo.ahead import share_memory
from gfnet_dynn.geo.areas import AreaCount, harmed_share
from gfnet_dynn.geo.inference import ChipInference
from gfnet_dynn.geo.journal import Journal, open_journal, record_type
from gfnet_dynn.geo.legend import UNKNOWN
from gfnet_dynn.geo.pipeline import Tally, UnitWork, publish, write_maps
from gfnet_dynn.geo.plan import MapPlan, choose_bundle, make_plan, plan_scene, tags_of
from gfnet_dynn.geo.polygons import write_polygons
from gfnet_dynn.geo.products import CLASS, CONFIDENCE, EXIT, MAPS, Maps
from gfnet_dynn.geo.raster import name_of
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.geo.result import ExitUse, MapResult, Unreadable, WorkTime
from gfnet_dynn.geo.sidecars import sidecars
from gfnet_dynn.geo.stac import stac_item
from gfnet_dynn.progress import Log, OnProgress
from gfnet_dynn.reporting.class_map import LegendEntry, draw_class_map
from gfnet_dynn.runtime.predictor import Classifier, load
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json
from gfnet_dynn.units import percent

_PICTURE = 1000  # most cells along a side of the picture


@dataclass(frozen=True)
class _Job:
    """A scene, what is asked for, and what was decided."""

    request: MapRequest
    dataset: DatasetReader
    classifier: Classifier
    bundle: Path
    plan: MapPlan

    @property
    def scene(self) -> str:
        return Path(name_of(self.dataset)).name

    def maps(self, folder: Path) -> Maps:
        tags = tags_of(self.plan, self.classifier.manifest, {"SCENE": self.scene})
        return Maps(folder, self.plan.frame, self.plan.legend, tags)


def map_dataset(request: MapRequest, dataset: DatasetReader, on_progress: OnProgress, log: Log) -> MapResult:
    """Map an open dataset; see `gfnet_dynn.workflows.mapping.map_scene`."""
    began = time.perf_counter()
    job = _prepare(request, dataset, log)
    grid, manifest = job.plan.grid, job.classifier.manifest
    inference = ChipInference(job.classifier.net, job.plan.policy)
    full_seconds = inference.full_seconds(grid.side**2)
    memory = share_memory(request.max_memory, grid.unit_bytes(manifest.input.size))
    folder = request.output.with_name(f"{request.output.name}.part")
    kind = record_type(grid.side, len(manifest.classes))
    try:
        with open_journal(folder, job.plan.key, kind, grid.num_units) as journal:
            before = UnitWork(job.plan, dataset, inference, memory).run(journal, on_progress)
            areas, tally, files = _write_files(job, journal)
    except KeyboardInterrupt:
        if folder.exists():
            log(f"finished blocks are kept in {folder}: the same command continues")
        raise
    full = full_seconds * inference.chips
    times = WorkTime(time.perf_counter() - began, inference.seconds, full, grid.num_units, before)
    return _result(job, areas, tally, files, times)


def _prepare(request: MapRequest, dataset: DatasetReader, log: Log) -> _Job:
    """Check and decide everything; nothing is written yet."""
    _require_places(request, dataset)
    scene = plan_scene(dataset, request.gsd)
    bundle, note = choose_bundle(request, scene, name_of(dataset))
    if note:
        log(note)
    classifier = load(bundle, engine=request.engine, precision=request.precision, threads=request.threads)
    return _Job(request, dataset, classifier, bundle, make_plan(request, dataset, scene, classifier, bundle))


def _result(job: _Job, areas: AreaCount, tally: Tally, files: tuple[Path, ...], times: WorkTime) -> MapResult:
    plan, grid = job.plan, job.plan.grid
    return MapResult(
        scene=job.scene,
        files=files,
        areas=areas.result(plan.policy.guarantee),
        guarantee=_statement(plan, areas.blocks),
        blocks=areas.blocks,
        exits=_exit_uses(job.classifier, tally),
        cells=(grid.rows.cells, grid.columns.cells),
        cell_m=plan.cell_m,
        chip_m=plan.chip_m,
        stretch=plan.samples.stretch,
        times=times,
        unreadable=Unreadable(tally.unreadable, tally.first_unreadable) if tally.unreadable else None,
        warnings=plan.warnings,
    )


def _require_places(request: MapRequest, dataset: DatasetReader) -> None:
    """Refuse, before any work, files that cannot be written or that are the scene itself; raises StorageError."""
    for file in request.files:
        if file.exists() and Path(dataset.name).exists() and file.samefile(dataset.name):
            raise StorageError(f"{file} is the scene itself: name another file to write")
        require_writable(file.parent)


def _statement(plan: MapPlan, blocks: int) -> str:
    guarantee = plan.policy.guarantee
    return str(guarantee.get("statement", "")) if harmed_share(guarantee, blocks) is not None else ""


def _exit_uses(classifier: Classifier, tally: Tally) -> tuple[ExitUse, ...]:
    exits = classifier.manifest.exits
    return tuple(ExitUse(each.name, int(chips), each.macs) for each, chips in zip(exits, tally.exits, strict=True))


def _write_files(job: _Job, journal: Journal) -> tuple[AreaCount, Tally, tuple[Path, ...]]:
    """All files under their final names, the class map last: once it is there, all are."""
    request, maps = job.request, job.maps(journal.folder)
    areas, tally = write_maps(job.plan, journal, maps)
    finished = {kind: maps.optimise(kind) for kind in MAPS}
    targets = {CLASS: request.output, CONFIDENCE: request.confidence_output, EXIT: request.exit_output}
    beside = sidecars(request.output, job.plan.legend, areas.km2)
    if request.polygons:
        made = write_polygons(finished[CLASS], journal.folder / "polygons.gpkg", job.plan.legend, request.output.stem)
        write_bytes(request.polygons, made.read_bytes())
    if request.png:
        write_bytes(request.png, _picture(job, finished[CLASS], areas))
    if request.stac:
        write_json(request.stac, _item(job, request.stac, targets))
    for file, content in beside.items():
        write_bytes(file, content)
    publish([(finished[kind], targets[kind]) for kind in MAPS])
    more = filter(None, (request.png, request.polygons, request.stac))
    return areas, tally, (*targets.values(), *beside, *more)


def _picture(job: _Job, class_map: Path, areas: AreaCount) -> bytes:
    with rasterio.open(class_map) as dataset:
        factor = max(1.0, max(dataset.shape) / _PICTURE)
        shape = tuple(max(1, round(side / factor)) for side in dataset.shape)
        classes = dataset.read(1, out_shape=shape, resampling=Resampling.mode)
        cell_m = (
            job.plan.cell_m[0] * dataset.width / shape[1],
            job.plan.cell_m[1] * dataset.height / shape[0],
        )
    total = sum(areas.km2) or 1.0
    legend = [
        LegendEntry(entry.value, entry.name, percent(km2 / total, 1), entry.colour, entry.name == UNKNOWN)
        for entry, km2 in zip(job.plan.legend, areas.km2, strict=True)
        if km2
    ]
    return draw_class_map(f"Classes of {job.scene}", classes, cell_m, legend)


def _item(job: _Job, item: Path, maps: dict[str, Path]) -> dict[str, object]:
    links = {"derived_from": str(Path(job.dataset.name)), "ml-model": str(job.bundle.resolve())}
    return stac_item(item, maps, job.plan.frame, job.plan.legend, links)
