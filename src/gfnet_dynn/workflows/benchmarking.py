"""Benchmark networks on this device: latency, accuracy, memory and energy of all candidates on the same images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gfnet_dynn.benchmark.candidates import BundleCandidate, Candidate
from gfnet_dynn.benchmark.energy_use import find_meters, measure_energy
from gfnet_dynn.benchmark.measurement import (
    ColdStart,
    Sample,
    measure_candidates,
    measure_cold_start,
    measure_preprocessing,
    spread_rows,
)
from gfnet_dynn.benchmark.request import BenchmarkRequest, is_bundle
from gfnet_dynn.benchmark.result import BenchmarkResult, Machine
from gfnet_dynn.bundle.archive import Bundle, read_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.errors import EngineError, require_extra
from gfnet_dynn.images.files import require_images
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.progress import Log, OnProgress, ignore_log, ignore_progress
from gfnet_dynn.runtime.engine import DEFAULT_ENGINE, ENGINES, EngineOptions, make_engine
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.spec.network import InputSpec


def benchmark(
    request: BenchmarkRequest, *, on_progress: OnProgress = ignore_progress, log: Log = ignore_log
) -> BenchmarkResult:
    """Measure a bundle, a run or a named model, and whatever it is compared with.

    Raises:
        BundleError: a bundle is missing, damaged, or without that policy.
        CheckpointError: a run is missing or damaged.
        DataError: no images at a place.
        EngineError: a requested engine cannot run.
        MissingExtraError: a candidate needs packages that are not installed.
        SpecError: an unknown model, or an input size that it cannot take.
    """
    found = [file for place in request.images for file in require_images(place).images]
    files = tuple(found[row] for row in spread_rows(len(found), request.num_images))
    subject, candidates, omitted = _find_candidates(request, files, log)
    sample = Sample(files, len(files) or request.num_images, request.seed)
    figures = measure_candidates(candidates, sample, request.repeats, partial(on_progress, "Measuring latency"))
    preprocessing = None
    if files:
        on_step = partial(on_progress, "Measuring preprocessing")
        preprocessing = measure_preprocessing(files, subject.input, request.repeats, on_step, request.decode)
    gpu = any(each.identity.device != "cpu" for each in candidates)
    return BenchmarkResult(
        machine=Machine.here(request.threads),
        subject=Path(request.subject).name,
        images=sample.count,
        repeats=request.repeats,
        candidates=figures,
        preprocessing=preprocessing,
        cold_starts=tuple(_cold_starts(request, subject, files, on_progress)),
        energy=measure_energy(
            candidates,
            files,
            find_meters(request.meter_csv, gpu=gpu),
            request.energy_seconds,
            request.estimate_power_w,
            partial(on_progress, "Measuring energy"),
        ),
        exported=subject.bundle.manifest.report if subject.bundle else {},
        omitted=tuple(omitted),
    )


@dataclass(frozen=True)
class _Subject:
    """What the benchmark is about: its input, and the bundle if it is one, with the engines that run it."""

    input: InputSpec
    bundle: Bundle | None = None
    engines: Sequence[str] = ()


def _find_candidates(
    request: BenchmarkRequest, files: Sequence[Path], log: Log
) -> tuple[_Subject, list[Candidate], list[str]]:
    """The subject in each engine and precision, then baselines, then torch."""
    engines, omitted = _engines(request)
    candidates: list[Candidate]
    if is_bundle(request.subject):
        bundle = read_bundle(find_bundle(request.subject))
        subject = _Subject(bundle.manifest.input, bundle, engines)
        candidates, classes = list(_in_engines(request, bundle, request.policy, engines)), bundle.manifest.classes
    else:
        require_extra("benchmarking in torch", "train")
        from gfnet_dynn.workflows.torch_candidates import find_network

        network, spec = find_network(request)
        subject, candidates, classes = _Subject(spec.input), [network], spec.classes
    with tempfile.TemporaryDirectory() as folder:
        for name in request.against:
            baseline = _baseline(name, classes, files, request.decode, Path(folder), log)
            candidates += _in_engines(request, baseline, None, engines)
    if request.torch is not None and subject.bundle is not None:
        require_extra("benchmarking in torch", "train")
        from gfnet_dynn.workflows.torch_candidates import find_run_of_bundle

        candidates += find_run_of_bundle(request, subject.bundle)
    return subject, candidates, omitted


def _engines(request: BenchmarkRequest) -> tuple[Sequence[str], list[str]]:
    """The requested engines, which must work, or all that do; and why others don't."""
    options = EngineOptions(request.threads)
    if request.engine:
        for name in request.engine:
            make_engine(name, options)
        return request.engine, []
    working, omitted = [], []
    for each in filter(find_spec, ENGINES):
        try:
            make_engine(each, options)
            working.append(each)
        except EngineError as error:
            omitted.append(f"Omitted: {error}.")
    return working or [DEFAULT_ENGINE], omitted


def _baseline(
    name: str, classes: tuple[str, ...], files: Sequence[Path], decode: DecodeOptions, folder: Path, log: Log
) -> Bundle:
    """Another bundle, or a static network by name, exported for this benchmark."""
    if name.casefold() not in BACKBONES:
        return read_bundle(find_bundle(name))
    require_extra("export", "train,export")
    from gfnet_dynn.export.bundle import write_baseline

    log(f"exporting {name} with ImageNet weights")
    return read_bundle(write_baseline(name, classes, files, folder, decode))


def _in_engines(
    request: BenchmarkRequest, bundle: Bundle, policy: str | None, engines: Sequence[str]
) -> Iterator[BundleCandidate]:
    """A bundle in every precision in every engine."""
    for engine in engines:
        for precision in bundle.manifest.precisions:
            net = compile_net(bundle, precision, make_engine(engine, EngineOptions(request.threads)))
            yield BundleCandidate(Classifier(net, request.decode), bundle, bundle.manifest.policy(policy))


def _cold_starts(
    request: BenchmarkRequest, subject: _Subject, files: Sequence[Path], on_progress: OnProgress
) -> Iterator[ColdStart]:
    if subject.bundle is None:
        return
    decode = request.decode
    options = ["--policy", subject.bundle.manifest.policy(request.policy).name, "--threads", str(request.threads)]
    options += ["--max-pixels", str(decode.max_pixels)]
    if decode.stretch:
        options += [f"--stretch={decode.stretch[0]},{decode.stretch[1]}"]
    pairs = [(engine, precision) for engine in subject.engines for precision in subject.bundle.manifest.precisions]
    for done, (engine, precision) in enumerate(pairs, start=1):
        yield measure_cold_start(subject.bundle.path, files[0], engine, precision, options)
        on_progress("Measuring fresh processes", done, len(pairs))
