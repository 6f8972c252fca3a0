"""What `gfnet-dynn benchmark` does with a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

from gfnet_dynn.backbone_spec import BACKBONES
from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.cli.classifying import find_images
from gfnet_dynn.cli.device_tables import print_device_benchmark
from gfnet_dynn.cli.extras import require_export, require_plots, require_torch
from gfnet_dynn.cli.progress import Counter
from gfnet_dynn.energy.find import find_meters
from gfnet_dynn.errors import BundleError
from gfnet_dynn.measure.cold_start import measure_cold_start
from gfnet_dynn.measure.contenders import BundleContender, Contender, labels_of
from gfnet_dynn.measure.device import measure_contenders, measure_preprocessing
from gfnet_dynn.measure.device_energy import EnergyWish, measure_energy
from gfnet_dynn.measure.device_report import DeviceReport, Machine, device_report_to_dict, write_device_html
from gfnet_dynn.runtime.engine import ENGINES
from gfnet_dynn.runtime.predictor import load
from gfnet_dynn.storage import require_writable, write_json


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


def run_device_benchmark(wanted: Wanted, console: Console) -> DeviceReport:
    """Measure, print, and store where asked."""
    if wanted.html:
        require_plots()
    for target in filter(None, (wanted.html, wanted.json)):
        require_writable(target.parent)
    bundle, files = read_bundle(wanted.bundle), _spread(list(find_images(wanted.pictures)), wanted.images)
    engines = wanted.engines or [name for name in ENGINES if find_spec(name)]
    with tempfile.TemporaryDirectory() as folder:
        others = [_other(name, bundle, files, Path(folder), console) for name in wanted.against]
        contenders: list[Contender] = list(_bundles(wanted, [(wanted.bundle, bundle), *others], engines))
    if wanted.eager:
        contenders += _eager(wanted.eager, bundle, wanted)
    told = Counter(console)
    labels = labels_of(files, bundle.manifest.classes)
    figures = measure_contenders(contenders, files, labels, wanted.rounds, told("Measuring"))
    preprocessing = measure_preprocessing(files, bundle.manifest.input, wanted.rounds, told("Measuring decoding"))
    starts = [
        measure_cold_start(wanted.bundle, files[0], engine, precision, wanted.threads)
        for engine in engines
        for precision in bundle.manifest.precisions
    ]
    wish = EnergyWish(wanted.energy_seconds, wanted.estimate_power_w)
    energy = measure_energy(contenders, files, find_meters(wanted.meter_csv), wish, told("Measuring energy"))
    report = DeviceReport(
        machine=Machine.here(wanted.threads),
        bundle=str(wanted.bundle),
        sha256=bundle.sha256,
        policy=bundle.manifest.policy(wanted.policy),
        images=len(files),
        labelled=labels is not None,
        rounds=wanted.rounds,
        contenders=figures,
        preprocessing=preprocessing,
        cold_starts=tuple(starts),
        energy=energy,
        precisions=bundle.manifest.report.get("precisions", {}),
    )
    print_device_benchmark(report, console)
    if wanted.json:
        console.print(f"figures: {write_json(wanted.json, device_report_to_dict(report))}", soft_wrap=True)
    if wanted.html:
        console.print(f"report: {write_device_html(report, wanted.html)}", soft_wrap=True)
    return report


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """`count` of the files, evenly spread and so over their folders."""
    rows = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int))
    return [files[row] for row in rows]


def _other(name: str, subject: Bundle, files: Sequence[Path], folder: Path, console: Console) -> tuple[Path, Bundle]:
    """What stands beside the bundle: another one, or a static network that is exported for this."""
    if name.casefold() not in BACKBONES:
        return Path(name), read_bundle(Path(name))
    require_export()
    from gfnet_dynn.export.peer import PeerWish, write_peer  # noqa: PLC0415 # imports torch

    console.print(f"exporting {name} with ImageNet weights", markup=False, highlight=False)
    path = write_peer(PeerWish(name, subject.manifest.classes, tuple(files)), folder)
    return path, read_bundle(path)


def _bundles(
    wanted: Wanted, bundles: Sequence[tuple[Path, Bundle]], engines: Sequence[str]
) -> Iterator[BundleContender]:
    """Every bundle in every precision on every engine; the policy asked for is that of the first."""
    for position, (path, bundle) in enumerate(bundles):
        for engine in engines:
            for precision in bundle.manifest.precisions:
                classifier = load(path, engine=engine, precision=precision, threads=wanted.threads)
                policy = bundle.manifest.policy(None if position else wanted.policy)
                yield BundleContender(classifier, bundle, policy, path.stem)


def _eager(run: Path, bundle: Bundle, wanted: Wanted) -> list[Contender]:
    require_torch("measuring in torch")
    from gfnet_dynn.cli.training import set_threads  # noqa: PLC0415 # imports torch
    from gfnet_dynn.measure.eager import EagerContender  # noqa: PLC0415
    from gfnet_dynn.model.checkpoint import load_checkpoint  # noqa: PLC0415
    from gfnet_dynn.train.start import find_checkpoint_file  # noqa: PLC0415

    set_threads(wanted.threads)
    checkpoint = load_checkpoint(find_checkpoint_file(run))
    if checkpoint.spec.classes != bundle.manifest.classes or checkpoint.spec.input != bundle.manifest.input:
        raise BundleError(f"{run} is not the run that {wanted.bundle} was exported from: classes or input differ")
    policy = bundle.manifest.policy(wanted.policy)
    thresholds = policy.thresholds if policy.signal == "gate" else bundle.manifest.policy("full").thresholds
    return [EagerContender(checkpoint.build(), checkpoint.spec, thresholds, way) for way in ("exits", "published")]
