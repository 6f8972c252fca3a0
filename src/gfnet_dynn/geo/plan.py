"""What will be done: scene, model, grid and samples, all decided and checked before the first chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affine import Affine
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import DataError
from gfnet_dynn.geo.grid import Grid, make_axis
from gfnet_dynn.geo.ground import Ground, measure
from gfnet_dynn.geo.journal import digest
from gfnet_dynn.geo.legend import Entry, make_legend
from gfnet_dynn.geo.products import MapFrame
from gfnet_dynn.geo.raster import choose_bands, name_of, require_georeference
from gfnet_dynn.geo.request import MapRequest, Scale
from gfnet_dynn.geo.samples import Samples, make_samples
from gfnet_dynn.runtime.model_choice import choose_model
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.runtime.segments import SegmentedNet

_FORMAT = 1  # of the journal's records and of how they come about


@dataclass(frozen=True)
class ScenePlan:
    """The scene on the ground.

    Attributes:
        ground: size of its pixels.
        gsd_m: metres from column to column and from row to row at its centre.
    """

    ground: Ground
    gsd_m: tuple[float, float]

    @property
    def coarser_m(self) -> float:
        """The larger of both."""
        return max(self.gsd_m)


def plan_scene(dataset: DatasetReader, gsd_m: float | None) -> ScenePlan:
    """Check that a scene has a place and even pixels; raises DataError."""
    require_georeference(dataset)
    ground = Ground(dataset.transform, dataset.crs, gsd_m)
    try:
        return ScenePlan(ground, measure(ground, dataset.width, dataset.height))
    except DataError as error:
        raise DataError(f"{name_of(dataset)}: {error}") from error


def choose_bundle(request: MapRequest, scene: ScenePlan, name: str) -> tuple[Path, str]:
    """The bundle that is named, or the built-in model for the scene, with a note that says which; ModelChoiceError."""
    if request.bundle is not None:
        return request.bundle, ""
    choice = choose_model((), scene.coarser_m, name if request.gsd is None else "--gsd")
    return choice.bundle, f"note: model {choice.name}: {choice.reason}"


@dataclass(frozen=True)
class MapPlan:
    """Everything that determines the maps.

    Attributes:
        scene: on the ground.
        samples: how its samples become bytes.
        grid: its chips and cells.
        chip_m: side of a chip.
        blend: whether all chips that cover a cell count, or the nearest one.
        policy: of the exits.
        legend: of the classes.
        key: identifies all of it, the scene's content (by size and time of change) and the network.
        warnings: what to mind.
    """

    scene: ScenePlan
    samples: Samples
    grid: Grid
    chip_m: float
    blend: bool
    policy: Policy
    legend: tuple[Entry, ...]
    key: str
    warnings: tuple[str, ...]

    @property
    def cell_m(self) -> tuple[float, float]:
        """Width and height of a cell on the ground, at the centre of the scene."""
        rows, columns = self.grid.rows, self.grid.columns
        return columns.stride * columns.step * self.scene.gsd_m[0], rows.stride * rows.step * self.scene.gsd_m[1]

    @property
    def frame(self) -> MapFrame:
        """Size and place of the maps: from the scene's origin on, in its coordinates."""
        rows, columns = self.grid.rows, self.grid.columns
        wide, high = columns.stride * columns.step, rows.stride * rows.step
        turn = self.scene.ground.transform
        transform = Affine(turn.a * wide, turn.b * high, turn.c, turn.d * wide, turn.e * high, turn.f)
        return MapFrame(columns.cells, rows.cells, transform, self.scene.ground.crs)


def make_plan(
    request: MapRequest, dataset: DatasetReader, scene: ScenePlan, classifier: Classifier, bundle: Path
) -> MapPlan:
    """Decide everything.

    Raises:
        BundleError: no such policy, or too many classes.
        DataError: a scene that cannot be mapped.
        OptionError: options that do not fit the scene.
    """
    manifest = classifier.manifest
    policy = classifier.policy(request.policy, request.threshold)
    samples = scene_samples(dataset, request.bands, request.scale, manifest.input.stretch)
    content = manifest.input.size - manifest.input.pad
    chip_m = request.chip or _chip_side_m(manifest, content, scene)
    stride_m = request.stride or (chip_m / 2 if request.blend else chip_m)
    grid = scene_grid(dataset, scene, chip_m, stride_m, content)
    legend = make_legend(manifest.classes, unknown=policy.unknown_rule is not None)
    network = [read_bundle(bundle).sha256, policy.digest, policy.unknown_rule]
    network += [classifier.net.precision, classifier.net.engine_name]
    key = digest([_FORMAT, *_identity(dataset), repr(samples), repr(grid), *network])
    warnings = tuple(_warnings(manifest, scene, policy, classifier.net))
    return MapPlan(scene, samples, grid, chip_m, request.blend, policy, legend, key, warnings)


def scene_samples(
    dataset: DatasetReader, wanted: tuple[str, ...] | None, scale: Scale | None, stretch: tuple[float, float] | None
) -> Samples:
    """How samples of the wanted bands become bytes; `stretch` is the model's.

    Raises:
        DataError: bands or samples that are not clear, or percentiles that cannot be taken.
        OptionError: the scene has no such band.
    """
    bands = choose_bands(dataset, wanted)
    try:
        return make_samples(dataset, bands, scale, stretch)
    except RasterioError as error:
        name = name_of(dataset)
        raise DataError(f"{name} cannot be read whole, as percentiles need it: give two values to --scale") from error


def scene_grid(dataset: DatasetReader, scene: ScenePlan, chip_m: float, stride_m: float, network_px: int) -> Grid:
    """Chips and cells of a scene, of sides in metres; raises what `make_axis` does, with the name of the scene."""
    across, down = scene.gsd_m
    try:
        return Grid(
            make_axis(dataset.height, down, chip_m, stride_m, network_px),
            make_axis(dataset.width, across, chip_m, stride_m, network_px),
        )
    except DataError as error:
        raise DataError(f"{name_of(dataset)}: {error}") from error


def _chip_side_m(manifest: Manifest, content: int, scene: ScenePlan) -> float:
    return manifest.card.chip_side_m(content) if manifest.card else content * scene.coarser_m


def _identity(dataset: DatasetReader) -> list[Any]:
    """What tells a scene from another; of an array in memory, a checksum."""
    shape = [
        dataset.count,
        dataset.height,
        dataset.width,
        dataset.dtypes,
        dataset.crs.to_wkt(),
        list(dataset.transform),
    ]
    file = Path(dataset.name)
    if not file.is_file():
        return [*shape, [dataset.checksum(band) for band in dataset.indexes]]
    stated = file.stat()
    return [*shape, str(file.resolve()), stated.st_size, stated.st_mtime_ns]


def _warnings(manifest: Manifest, scene: ScenePlan, policy: Policy, net: SegmentedNet) -> list[str]:
    found = []
    card = manifest.card
    if card and scene.coarser_m > card.gsd_m[1]:
        found.append(
            f"the scene has {scene.coarser_m:.3g} m per pixel, and the model is meant for {card.gsd_m[0]:g} to "
            f"{card.gsd_m[1]:g} m: expect more errors"
        )
    if card is None:
        found.append(
            "the bundle does not say how much ground an image shows: a chip has as many pixels as the network takes"
        )
    if policy.covered and net.precision not in policy.covered:
        found.append(
            f"the policy {policy.name} was calibrated in {', '.join(policy.covered)}, and guarantees nothing in "
            f"{net.precision}"
        )
    return found


def tags_of(plan: MapPlan, manifest: Manifest, origin: Mapping[str, str]) -> dict[str, str]:
    """What the maps say of themselves, as GeoTIFF metadata."""
    return {
        **origin,
        "MODEL": manifest.model,
        "POLICY": plan.policy.name,
        "CHIP_METRES": f"{plan.chip_m:.6g}",
        "BANDS": ",".join(map(str, plan.samples.bands)),
        "SCALE": "as stored"
        if plan.samples.stretch is None
        else ",".join(f"{each:g}" for each in plan.samples.stretch),
    }
