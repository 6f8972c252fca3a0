"""Measure latency and accuracy of candidates: at each exit, by the exit policy, and from the file to the label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.benchmark.candidates import Candidate, Identity
from gfnet_dynn.benchmark.timing import Latency, Times, time_in_turns
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER, first_exit
from gfnet_dynn.images.decode import decode
from gfnet_dynn.images.fit import fit_image
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.uncertainty.intervals import Proportion

_CURVE = (*(index / 20 for index in range(20)), NEVER)


@dataclass(frozen=True)
class Sample:
    """The images that all candidates are timed on.

    Attributes:
        files: images on disk; empty: random pixels.
        count: number of images.
        seed: of random pixels.
    """

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
    """One exit.

    Attributes:
        name: of the exit.
        macs_share: of the full network's MACs; counted from shapes.
        latency: of the network up to the exit; measured.
        latency_share: median over images and rounds of the ratio to the full network; measured.
        share: of the images that take this exit by the policy.
    """

    name: str
    macs_share: float
    latency: Latency
    latency_share: float
    share: float


@dataclass(frozen=True)
class CurvePoint:
    """One threshold for all exits: accuracy on the images, mean latency at the exits taken; None: no early exit."""

    threshold: float | None
    accuracy: Proportion
    mean_ms: float


@dataclass(frozen=True)
class CandidateFigures:
    """One candidate.

    Attributes:
        identity: which network.
        exits: the final one last.
        mix: latency of the network by its exit policy.
        end_to_end: latency from the file to the label, by the exit policy; None without files.
        accuracy: by the exit policy; None where the images' classes are unknown.
        full_accuracy: of the full network.
        curve: over thresholds; empty without accuracy or early exits.
    """

    identity: Identity
    exits: tuple[ExitFigures, ...]
    mix: Latency
    end_to_end: Latency | None
    accuracy: Proportion | None
    full_accuracy: Proportion | None
    curve: tuple[CurvePoint, ...]

    @property
    def full(self) -> Latency:
        """Latency of the full network."""
        return self.exits[-1].latency


def measure_candidates(
    candidates: Sequence[Candidate], sample: Sample, repeats: int, on_step: OnStep = ignore_steps
) -> tuple[CandidateFigures, ...]:
    """Time all candidates on the same images in turns.

    Args:
        candidates: in the order of the result.
        sample: the images.
        repeats: rounds over all images.
        on_step: called after each round.
    """
    images = [sample.images(each) for each in candidates]
    calls = [_calls(each, own, sample.files) for each, own in zip(candidates, images, strict=True)]
    times = time_in_turns([call for own in calls for call in own], sample.count, repeats, on_step)
    parts = np.split(times, np.cumsum([len(own) for own in calls])[:-1], axis=2)
    return tuple(_figures(*each, sample.files) for each in zip(candidates, images, parts, strict=True))


def _calls(candidate: Candidate, images: Sequence[Images], files: Sequence[Path]) -> list[Callable[[int], object]]:
    """Each exit from the last to the first, the exit policy, and the whole way from the file."""
    on_images = [*(candidate.forced_to(index) for index in reversed(range(len(candidate.exits)))), candidate.decide]
    calls = [partial(_on, call, images) for call in on_images]
    return [*calls, partial(_on, candidate.classify, files)] if files else [*calls]


def _on(call: Callable[..., object], items: Sequence[object], index: int) -> object:
    return call(items[index])


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
    files: Sequence[Path],
    image: InputSpec,
    repeats: int,
    on_step: OnStep = ignore_steps,
    options: DecodeOptions = DEFAULT,
) -> Preprocessing:
    """Time decoding and resizing separately."""
    side = image.size - image.pad
    pictures = [decode(file, side, options) for file in files]
    calls = [lambda row: decode(files[row], side, options), lambda row: fit_image(pictures[row], image)]
    times = time_in_turns(calls, len(files), repeats, on_step)
    return Preprocessing(Latency.of(times[:, :, 0]), Latency.of(times[:, :, 1]))
