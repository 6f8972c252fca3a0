"""Measure candidates at each exit, by the exit policy and from the file to the label; decoding; fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.benchmark.candidates import Candidate, Identity
from gfnet_dynn.errors import EngineError
from gfnet_dynn.exits import NEVER, ExitArrays, first_exit
from gfnet_dynn.images.decode import decode
from gfnet_dynn.images.fit import fit
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.uncertainty.intervals import Proportion

_CURVE = (*(index / 20 for index in range(20)), NEVER)

Times = npt.NDArray[np.float64]
"""Milliseconds, [rounds, images, calls]."""

_WARM_UP = 2  # images: first runs allocate and plan, later ones find caches that another call has filled


@dataclass(frozen=True)
class Latency:
    """Latency of one image in milliseconds, over all images and rounds."""

    median_ms: float
    mean_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of(cls, milliseconds: npt.NDArray[np.float64]) -> Latency:
        """Statistics of measurements of any shape."""
        median, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
        return cls(float(median), float(milliseconds.mean()), float(p90), float(p99))


def time_in_turns(
    calls: Sequence[Callable[[int], object]], images: int, repeats: int, on_step: OnStep = ignore_steps
) -> Times:
    """Time each call on each image, one image at a time; a call takes the index of an image.

    The calls alternate, so that a change of the processor's speed affects all of them alike. Each call processes all
    images before the next call starts, as on a device that runs one network; two untimed images come first, so that
    no call pays for the caches that another one left.
    """
    times = np.empty((repeats, images, len(calls)))
    for turn in range(repeats):
        for column, call in enumerate(calls):
            for image in range(min(_WARM_UP, images)):
                call(image)
            for image in range(images):
                start = time.perf_counter()
                call(image)
                times[turn, image, column] = (time.perf_counter() - start) * 1e3
        on_step(turn + 1, repeats)
    return times


def spread_rows(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Which of `count` images to time: `wanted` of them, evenly spread and so over their folders or classes."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.intp))


@dataclass(frozen=True)
class Sample:
    """The images that all candidates are timed on: files, or without any `count` images of random pixels."""

    files: tuple[Path, ...]
    count: int
    seed: int = 0

    def images(self, candidate: Candidate) -> list[Images]:
        """As the candidate takes them, each [1, S, S, 3]."""
        if self.files:
            return [candidate.read(file) for file in self.files]
        side = candidate.identity.input_px
        return list(np.random.default_rng(self.seed).integers(0, 256, (self.count, 1, side, side, 3), np.uint8))


@dataclass(frozen=True)
class ExitFigures:
    """One exit."""

    name: str
    macs_share: float  # of the full network's MACs; counted from shapes
    latency: Latency  # of the network up to the exit; measured
    latency_share: float  # median over images and rounds of the ratio to the full network; measured
    share: float  # of the images that take this exit by the policy


@dataclass(frozen=True)
class CurvePoint:
    """One threshold for all exits: accuracy on the images, mean latency at the exits taken; None: no early exit."""

    threshold: float | None
    accuracy: Proportion
    mean_ms: float


@dataclass(frozen=True)
class CandidateFigures:
    """One candidate."""

    identity: Identity
    exits: tuple[ExitFigures, ...]  # the final one last
    mix: Latency  # latency of the network by its exit policy
    end_to_end: Latency | None  # latency from the file to the label, by the exit policy; None without files
    accuracy: Proportion | None  # by the exit policy; None where the images' classes are unknown
    full_accuracy: Proportion | None  # of the full network
    curve: tuple[CurvePoint, ...]  # over thresholds; empty without accuracy or early exits

    @property
    def full(self) -> Latency:
        """Latency of the full network."""
        return self.exits[-1].latency


def measure_candidates(
    candidates: Sequence[Candidate], sample: Sample, repeats: int, on_step: OnStep = ignore_steps
) -> tuple[CandidateFigures, ...]:
    """Time all candidates on the same images in turns, `repeats` rounds over all images."""
    images = [sample.images(each) for each in candidates]
    calls = [_calls(each, own, sample.files) for each, own in zip(candidates, images, strict=True)]
    times = time_in_turns([call for own in calls for call in own], sample.count, repeats, on_step)
    parts = np.split(times, np.cumsum([len(own) for own in calls])[:-1], axis=2)
    return tuple(_figures(*each, sample.files) for each in zip(candidates, images, parts, strict=True))


def _calls(candidate: Candidate, images: Sequence[Images], files: Sequence[Path]) -> list[Callable[[int], object]]:
    """Each exit from the last to the first, the exit policy, and the whole way from the file."""

    def on_images(call: Callable[[Images], object]) -> Callable[[int], object]:
        return lambda row: call(images[row])

    calls = [on_images(candidate.forced_to(index)) for index in reversed(range(len(candidate.exits)))]
    calls.append(on_images(candidate.decide))
    return [*calls, lambda row: candidate.classify(files[row])] if files else calls


def _figures(candidate: Candidate, images: Sequence[Images], times: Times, files: Sequence[Path]) -> CandidateFigures:
    count = len(candidate.exits)
    of_exits = times[:, :, count - 1 :: -1]
    taken, rows = np.array([candidate.decide(image) for image in images]), np.arange(len(images))
    arrays = candidate.exit_outputs(np.concatenate(images), files)
    return CandidateFigures(
        identity=candidate.identity,
        exits=tuple(
            ExitFigures(
                name=each.name,
                macs_share=each.macs_share,
                latency=Latency.of(of_exits[:, :, index]),
                latency_share=float(np.median(of_exits[:, :, index] / of_exits[:, :, -1])),
                share=float((taken == index).mean()),
            )
            for index, each in enumerate(candidate.exits)
        ),
        mix=Latency.of(times[:, :, count]),
        end_to_end=Latency.of(times[:, :, count + 1]) if files else None,
        accuracy=None if arrays is None else Proportion.of(arrays.correct[rows, taken]),
        full_accuracy=None if arrays is None else Proportion.of(arrays.correct[:, -1]),
        curve=() if arrays is None or count == 1 else _curve(arrays, np.median(of_exits, axis=0)),
    )


def _curve(arrays: ExitArrays, milliseconds: npt.NDArray[np.float64]) -> tuple[CurvePoint, ...]:
    """Accuracy and latency over thresholds, from outputs and times [N, G + 1]."""
    rows, points = np.arange(len(arrays.labels)), []
    for threshold in _CURVE:
        taken = first_exit(arrays.gates, threshold)
        accuracy, mean_ms = Proportion.of(arrays.correct[rows, taken]), float(milliseconds[rows, taken].mean())
        points.append(CurvePoint(None if threshold == NEVER else threshold, accuracy, mean_ms))
    return tuple(points)


@dataclass(frozen=True)
class Preprocessing:
    """Latency of decoding a file, and of resizing and padding it."""

    decode: Latency
    fit: Latency


def measure_preprocessing(
    files: Sequence[Path], image: InputSpec, repeats: int, on_step: OnStep, options: DecodeOptions = DEFAULT
) -> Preprocessing:
    """Time decoding and resizing separately."""
    side = image.size - image.pad
    pictures = [decode(file, side, options) for file in files]
    calls = [lambda row: decode(files[row], side, options), lambda row: fit(pictures[row], image)]
    times = time_in_turns(calls, len(files), repeats, on_step)
    return Preprocessing(Latency.of(times[:, :, 0]), Latency.of(times[:, :, 1]))


# The process reports its memory itself: its parent would also count its own pages, those between fork and exec.
_CLASSIFY = """
import atexit, sys

def peak():
    try:
        with open("/proc/self/status") as lines:
            kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            return
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kib = largest / 1024 if sys.platform == "darwin" else largest
    sys.stderr.write(f"peak_kib={kib}")

atexit.register(peak)
sys.argv[0] = "gfnet-dynn"
from gfnet_dynn.cli.app import main
main()
"""
_MARK = "peak_kib="


@dataclass(frozen=True)
class ColdStart:
    """First prediction of a fresh process, from start to end, in medians; peak resident memory, 10⁶ bytes, if known."""

    seconds: float
    peak_mb: float | None
    starts: int
    precision: str
    engine: str


def measure_cold_start(
    bundle: Path, image: Path, engine: str, precision: str, options: Sequence[str] = (), starts: int = 5
) -> ColdStart:
    """Run `gfnet-dynn classify`, with further options, in fresh processes; raises EngineError if one fails."""
    line = ["--engine", engine, "--precision", precision, *options]
    # -P, as the installed command has it: modules in the working folder are not imported.
    command = [sys.executable, "-P", "-c", _CLASSIFY, "classify", str(bundle.absolute()), str(image.absolute()), *line]
    seconds, peaks = [], []
    for _ in range(starts):
        start = time.perf_counter()
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        seconds.append(time.perf_counter() - start)
        if result.returncode:
            raise EngineError(f"a fresh process cannot classify {image}: {result.stderr.strip()[-300:]}")
        if _MARK in result.stderr:
            peaks.append(float(result.stderr.rsplit(_MARK, 1)[1]) * 1024 / 1e6)
    peak = statistics.median(peaks) if peaks else None
    return ColdStart(statistics.median(seconds), peak, starts, precision, engine)
