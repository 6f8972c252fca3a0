"""What `gfnet-dynn benchmark` does with a bundle."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

from gfnet_dynn.benchmark.candidates import BundleCandidate, Candidate, Identity
from gfnet_dynn.benchmark.cold_start import ColdStart, measure_cold_start
from gfnet_dynn.benchmark.energy.find import find_meters
from gfnet_dynn.benchmark.energy_use import EnergyRequest, measure_energy
from gfnet_dynn.benchmark.html_report import write_device_page
from gfnet_dynn.benchmark.measurement import measure_candidates, measure_preprocessing
from gfnet_dynn.benchmark.report import DeviceReport, Machine, device_report_to_dict
from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.cli.render.benchmark import print_device_benchmark
from gfnet_dynn.cli.render.progress import ProgressBars
from gfnet_dynn.errors import BundleError, EngineError, MeterError, StorageError
from gfnet_dynn.images.files import require_images
from gfnet_dynn.runtime.engine import DEFAULT_ENGINE, ENGINES, EngineOptions, make_engine
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.system.storage import require_writable, write_json
from gfnet_dynn.workflows.extras import require_export, require_plots, require_torch


@dataclass(frozen=True)
class Wanted:
    """What to measure, as the options of `gfnet-dynn benchmark` say it."""

    bundle: Path
    pictures: Sequence[Path]
    against: Sequence[str]
    eager: Path | None
    engines: Sequence[str]
    policy: str | None
    energy_seconds: float
    meter_csv: Path | None
    estimate_power_w: float | None
    images: int
    rounds: int
    threads: int
    html: Path | None
    json: Path | None

    def __post_init__(self) -> None:
        for value in (self.energy_seconds, self.estimate_power_w):
            if value is not None and not math.isfinite(value):
                raise MeterError(f"energy is measured and estimated by finite numbers, not {value}")
        if self.meter_csv is not None and not self.meter_csv.is_file():
            raise MeterError(f"no log of a power meter at {self.meter_csv}")
        for target in filter(None, (self.html, self.json)):
            if target.is_dir():
                raise StorageError(f"{target} is a folder: name the file to write")
            require_writable(target.parent)
        if self.html:
            require_plots()


def run_device_benchmark(wanted: Wanted, console: Console) -> DeviceReport:
    """Measure, store where asked, and print."""
    found = [file for place in wanted.pictures for file in require_images(place).images]
    bundle, files = read_bundle(wanted.bundle), _spread(found, wanted.images)
    engines, notes = _engines(wanted)
    with tempfile.TemporaryDirectory() as folder:
        others = [_other(name, bundle, files, Path(folder), console) for name in wanted.against]
        own = list(_candidates(wanted, bundle, bundle.manifest.policy(wanted.policy).name, engines))
        beside = [each for other in others for each in _candidates(wanted, other, None, engines)]
    candidates: list[Candidate] = [*own, *beside, *(_eager(wanted.eager, bundle, own[0].identity, wanted))]
    told = ProgressBars(console)
    figures = measure_candidates(candidates, files, wanted.rounds, partial(told, "Measuring"))
    preprocessing = measure_preprocessing(
        files, bundle.manifest.input, wanted.rounds, partial(told, "Measuring decoding")
    )
    starts = _cold_starts(wanted, bundle, files[0], engines)
    energy_request = EnergyRequest(wanted.energy_seconds, wanted.estimate_power_w)
    energy = measure_energy(
        candidates, files, find_meters(wanted.meter_csv, gpu=False), energy_request, partial(told, "Measuring energy")
    )
    report = DeviceReport(
        machine=Machine.here(wanted.threads),
        bundle=wanted.bundle.name,
        images=len(files),
        rounds=wanted.rounds,
        candidates=figures,
        preprocessing=preprocessing,
        cold_starts=tuple(starts),
        energy=energy,
        exported=bundle.manifest.report,
        notes=tuple(notes),
    )
    written = []  # before anything is printed: a terminal may be closed
    if wanted.json:
        written.append(f"figures: {write_json(wanted.json, device_report_to_dict(report))}")
    if wanted.html:
        written.append(f"report: {write_device_page(report, wanted.html)}")
    print_device_benchmark(report, console)
    for line in written:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return report


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """`count` of the files, evenly spread and so over their folders."""
    rows = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[row] for row in rows]


def _engines(wanted: Wanted) -> tuple[list[str], list[str]]:
    """Those asked for, which must work, or all that are installed and do."""
    options = EngineOptions(wanted.threads)
    if wanted.engines:
        for name in wanted.engines:
            make_engine(name, options)
        return list(wanted.engines), []
    working, notes = [], []
    for name in filter(find_spec, ENGINES):
        try:
            make_engine(name, options)
            working.append(name)
        except EngineError as error:
            notes.append(f"Left out: {error}.")
    return working or [DEFAULT_ENGINE], notes


def _other(name: str, subject: Bundle, files: Sequence[Path], folder: Path, console: Console) -> Bundle:
    """What stands beside the bundle: another one, or a static network that is exported for this."""
    if name.casefold() not in BACKBONES:
        return read_bundle(Path(name))
    require_export()
    from gfnet_dynn.export.baselines import BaselineRequest, write_baseline  # noqa: PLC0415 # imports torch

    console.print(f"exporting {name} with ImageNet weights", markup=False, highlight=False)
    return read_bundle(write_baseline(BaselineRequest(name, subject.manifest.classes, tuple(files)), folder))


def _candidates(
    wanted: Wanted, bundle: Bundle, policy: str | None, engines: Sequence[str]
) -> Iterator[BundleCandidate]:
    """A bundle in every precision on every engine."""
    for engine in engines:
        for precision in bundle.manifest.precisions:
            net = compile_net(bundle, precision, make_engine(engine, EngineOptions(wanted.threads)))
            yield BundleCandidate(Classifier(net), bundle, bundle.manifest.policy(policy), bundle.path.stem)


def _eager(run: Path | None, bundle: Bundle, like: Identity, wanted: Wanted) -> list[Candidate]:
    if run is None:
        return []
    require_torch("measuring in torch")
    from gfnet_dynn.benchmark.torch_candidates import TorchCandidate  # noqa: PLC0415
    from gfnet_dynn.model.checkpoint import load_checkpoint  # noqa: PLC0415
    from gfnet_dynn.train.runs.start import find_checkpoint_file  # noqa: PLC0415
    from gfnet_dynn.workflows.training import set_threads  # noqa: PLC0415 # imports torch

    set_threads(wanted.threads)
    file = find_checkpoint_file(run)
    checkpoint, policy = load_checkpoint(file), bundle.manifest.policy(wanted.policy)
    if (checkpoint.spec.classes, checkpoint.spec.input) != (bundle.manifest.classes, bundle.manifest.input):
        raise BundleError(f"{run} is not the run that {wanted.bundle} was exported from: classes or input differ")
    if policy.score != "gate":
        raise BundleError(f"--eager leaves by gates, and the policy {policy.name} does not: name another by --policy")
    about = replace(like, path=str(run))
    return [
        TorchCandidate(checkpoint.build(), checkpoint.spec, policy.thresholds, about, way)
        for way in ("exits", "published")
    ]


def _cold_starts(wanted: Wanted, bundle: Bundle, image: Path, engines: Sequence[str]) -> list[ColdStart]:
    fixed = {"policy": bundle.manifest.policy(wanted.policy).name, "threads": str(wanted.threads)}
    return [
        measure_cold_start(wanted.bundle, image, {"engine": engine, "precision": precision, **fixed})
        for engine in engines
        for precision in bundle.manifest.precisions
    ]
