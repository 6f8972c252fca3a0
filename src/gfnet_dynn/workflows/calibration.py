"""What `gfnet-dynn calibrate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from gfnet_dynn.bundle.archive import Bundle, read_bundle, write_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.costs import Quantity, from_benchmark, macs
from gfnet_dynn.calibration.images import find_labelled
from gfnet_dynn.calibration.outputs import Outputs, collect_outputs, load_outputs, store_outputs
from gfnet_dynn.calibration.plots import draw_reliability, require_plot
from gfnet_dynn.calibration.report import CalibrationReport, make_report, report_to_dict
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.search import calibrate
from gfnet_dynn.cli.render.calibration import print_calibration
from gfnet_dynn.cli.render.progress import Counter
from gfnet_dynn.errors import CalibrationError, StorageError
from gfnet_dynn.exits.scores import Score
from gfnet_dynn.guarantees.budget import Costs, require_in_reach
from gfnet_dynn.guarantees.control import Method, RiskTarget, default_method
from gfnet_dynn.guarantees.risk import RiskName
from gfnet_dynn.images.decode import DEFAULT, DecodeOptions
from gfnet_dynn.images.files import describe_skipped
from gfnet_dynn.runtime.engine import EngineOptions, default_threads, make_engine
from gfnet_dynn.system.storage import require_writable, write_json

_AT_MOST, _CERTAINTY = 1.0, 95.0  # points, per cent


@dataclass(frozen=True)
class Wanted:
    """What to calibrate for, as the options of `gfnet-dynn calibrate` say it."""

    bundle: Path
    images: Path
    risk: RiskName | None
    at_most: float | None
    certainty: float | None
    method: Method | None
    max_ms: float | None
    p99_ms: float | None
    max_mj: float | None
    max_mmacs: float | None
    benchmark: Path | None
    score: Score
    per_exit: bool
    sets: float | None
    unknown: float | None
    name: str
    output: Path | None
    report: Path | None
    plot: Path | None
    outputs: Path | None
    engine: str
    threads: int | None
    seed: int
    decode: DecodeOptions = DEFAULT

    def order(self, manifest: Manifest) -> CalibrationRequest:
        """The same as calibration understands it."""
        costs, budget = self._budget(manifest)
        return CalibrationRequest(
            name=self.name,
            costs=costs,
            target=self._target(),
            budget=budget,
            deadline=self.p99_ms,
            score=self.score,
            per_exit=self.per_exit,
            coverage=None if self.sets is None else self.sets / 100,
            false_alarms=None if self.unknown is None else self.unknown / 100,
            seed=self.seed,
        )

    def _target(self) -> RiskTarget | None:
        given = {"--at-most": self.at_most, "--certainty": self.certainty, "--method": self.method}
        if self.risk is None:
            if idle := [option for option, value in given.items() if value is not None]:
                raise CalibrationError(f"{' and '.join(idle)} without a risk: say which by --risk")
            return None
        at_most = _AT_MOST if self.at_most is None else self.at_most
        certainty = _CERTAINTY if self.certainty is None else self.certainty
        return RiskTarget(self.risk, at_most / 100, 1 - certainty / 100, self.method or default_method(self.risk))

    def _budget(self, manifest: Manifest) -> tuple[Costs, float | None]:
        means = {"--max-ms": self.max_ms, "--max-mj": self.max_mj, "--max-mmacs": self.max_mmacs}
        given = [option for option, value in means.items() if value is not None]
        if len(given) > 1 or (self.p99_ms is not None and given not in ([], ["--max-ms"])):
            named = [*given, *(["--p99-ms"] if self.p99_ms is not None else [])]
            raise CalibrationError(f"one kind of budget at a time, not {' and '.join(named)}")
        timed = bool({"--max-ms", "--max-mj"} & set(given)) or self.p99_ms is not None
        if timed and self.benchmark is None:
            raise CalibrationError(
                "what a frame costs is measured on the device: give --benchmark FILE, written there by `gfnet-dynn "
                "benchmark BUNDLE IMAGES --json FILE`"
            )
        value = means[given[0]] if given else None
        if self.benchmark is not None and self.max_mmacs is None:
            quantity: Quantity = "energy" if given == ["--max-mj"] else "latency"
            return from_benchmark(self.benchmark, manifest, quantity, engine=self.engine), value
        return macs(manifest), value


def run_calibration(wanted: Wanted, console: Console) -> CalibrationReport:
    """Calibrate, print, store."""
    target = wanted.output or wanted.bundle
    for file in filter(None, (target, wanted.report, wanted.plot, wanted.outputs)):
        if file.is_dir():
            raise StorageError(f"{file} is a folder: name the file to write")
        require_writable(file.absolute().parent)
    _require_apart(wanted)
    if wanted.plot:
        require_plot(wanted.plot)
    bundle = read_bundle(wanted.bundle)
    order = wanted.order(bundle.manifest)
    require_in_reach(order.costs, order.budget, order.deadline)  # before the images: classifying them takes longest
    outputs = _outputs(wanted, bundle, console)
    if wanted.outputs:  # before anything else can be refused: computing them takes longest
        store_outputs(wanted.outputs, outputs)
    calibrated = calibrate(outputs, order)
    others = [each for each in bundle.manifest.policies if each.name != order.name]
    manifest = replace(bundle.manifest, policies=(calibrated.policy, *others))
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    report = make_report(calibrated, outputs, bundle.manifest)
    written = [f"bundle: {write_bundle(target, manifest, files)} (policy {order.name}, used unless another is named)"]
    if wanted.outputs:
        written.append(f"outputs: {wanted.outputs}")
    if wanted.report:
        written.append(f"report: {write_json(wanted.report, report_to_dict(report))}")
    if wanted.plot:
        written.append(f"plot: {draw_reliability(report, wanted.plot)}")
    print_calibration(report, console)
    written.extend(f"note: {doubt}" for doubt in _doubts(bundle.manifest))
    console.print("\n".join(written), markup=False, highlight=False, soft_wrap=True)
    return report


def _doubts(manifest: Manifest) -> list[str]:
    """Why the images may not be new to the network, though none was refused."""
    if manifest.learned_from is None:
        return [
            "the bundle does not say what it has learned from, so whether the images are new to it is not checked: "
            "export it anew"
        ]
    described = manifest.provenance.get("learned_from")
    unknown = described.get("unknown") if isinstance(described, Mapping) else None
    if not isinstance(unknown, Sequence) or isinstance(unknown, str) or not unknown:
        return []
    named = " and ".join(map(str, unknown))
    return [f"what {named} learned from is not known to the bundle: the guarantee holds if it saw none of these images"]


def _require_apart(wanted: Wanted) -> None:
    """No result takes the place of another, or of what was given; only policies and kept outputs may go back."""
    given = {"BUNDLE": wanted.bundle, "IMAGES": wanted.images, "--benchmark": wanted.benchmark}
    results = {
        "--output": wanted.output,
        "--report": wanted.report,
        "--plot": wanted.plot,
        "--outputs": wanted.outputs,
    }
    for option, file in results.items():
        for other, place in {**given, **results}.items():
            back = (option, other) in (("--output", "BUNDLE"), ("--outputs", "IMAGES"))
            if file and place and option != other and not back and file.resolve() == place.resolve():
                raise StorageError(f"{option} and {other} are both {file}: name another file")


def _outputs(wanted: Wanted, bundle: Bundle, console: Console) -> Outputs:
    if wanted.images.is_file():
        return load_outputs(wanted.images, bundle)
    threads = default_threads() if wanted.threads is None else wanted.threads
    engine, told = make_engine(wanted.engine, EngineOptions(threads)), Counter(console)
    labelled = find_labelled(wanted.images, bundle, told("Reading the images"), wanted.decode)
    if labelled.skipped:
        note = f"note: {describe_skipped(labelled.skipped)} skipped, such as {labelled.skipped[0]}"
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    return collect_outputs(bundle, labelled, engine, told("Classifying at every exit"), wanted.decode)
