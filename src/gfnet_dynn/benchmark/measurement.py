"""Measures on a device what networks cost there: each exit, the mix of exits that images take, file to label."""

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
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.fit import fit
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import InputSpec

Told = Callable[[int, int], None]

_CURVE = (*(index / 20 for index in range(20)), NEVER)


@dataclass(frozen=True)
class ExitFigures:
    """Leaving at one exit.

    Attributes:
        name: of the exit.
        macs_share: of the full network's MACs; counted.
        latency: network alone; measured.
        latency_share: median over images and rounds of the ratio to the full pass; measured.
        share: of the images, which leave here by the exit policy.
    """

    name: str
    macs_share: float
    latency: Latency
    latency_share: float
    share: float


@dataclass(frozen=True)
class CurvePoint:
    """The gated network at one threshold; accuracy on the images, latency at the exits that they take."""

    threshold: float
    accuracy: float
    mean_ms: float


@dataclass(frozen=True)
class CandidateFigures:
    """One network.

    Attributes:
        identity: which it is.
        exits: each exit.
        mix: network alone, by its exit policy.
        end_to_end: from the file to the label, by its exit policy.
        accuracy: by its exit policy; None where the images' classes are not known to it.
        full_accuracy: the same through the full network.
        curve: over thresholds; empty without accuracy or exits.
    """

    identity: Identity
    exits: tuple[ExitFigures, ...]
    mix: Latency
    end_to_end: Latency
    accuracy: float | None
    full_accuracy: float | None
    curve: tuple[CurvePoint, ...]

    @property
    def images_per_s(self) -> float:
        """From file to label, one after the other."""
        return 1000 / self.end_to_end.mean_ms

    @property
    def full(self) -> Latency:
        """The full pass."""
        return self.exits[-1].latency


def measure_candidates(
    candidates: Sequence[Candidate], files: Sequence[Path], rounds: int, told: Told
) -> tuple[CandidateFigures, ...]:
    """Time all candidates on the same images in turns.

    Args:
        candidates: the networks.
        files: images.
        rounds: times that all is repeated.
        told: of rounds done, and of all.
    """
    images = [[each.read(file) for file in files] for each in candidates]
    calls = [call for each, own in zip(candidates, images, strict=True) for call in _calls(each, own, files)]
    times, found, first = time_in_turns(calls, len(files), rounds, told), [], 0
    for each, own in zip(candidates, images, strict=True):
        last = first + len(each.exits) + 2
        found.append(_figures(each, own, files, times[:, :, first:last]))
        first = last
    return tuple(found)


def _calls(candidate: Candidate, images: Sequence[Images], files: Sequence[Path]) -> list[Callable[[int], object]]:
    """The full pass first, then out at each exit from the last to the first, by the policy, and from the file."""
    forced = [candidate.leave_at(index) for index in reversed(range(len(candidate.exits)))]
    return [
        *(partial(_on, call, images) for call in (*forced, candidate.decide)),
        partial(_on, candidate.answer, files),
    ]


def _on(call: Callable[..., object], items: Sequence[object], index: int) -> object:
    return call(items[index])


def _figures(candidate: Candidate, images: Sequence[Images], files: Sequence[Path], times: Times) -> CandidateFigures:
    ways = len(candidate.exits)
    times = np.concatenate((times[:, :, ways - 1 :: -1], times[:, :, ways:]), axis=2)  # exits in their order
    exits = np.array([candidate.decide(image) for image in images])
    arrays, rows = candidate.judge(np.concatenate(images), files), np.arange(len(images))
    return CandidateFigures(
        identity=candidate.identity,
        exits=tuple(
            ExitFigures(
                name=way.name,
                macs_share=way.macs_share,
                latency=Latency.of(times[:, :, index]),
                latency_share=float(np.median(times[:, :, index] / times[:, :, ways - 1])),
                share=float((exits == index).mean()),
            )
            for index, way in enumerate(candidate.exits)
        ),
        mix=Latency.of(times[:, :, ways]),
        end_to_end=Latency.of(times[:, :, ways + 1]),
        accuracy=None if arrays is None else float(arrays.correct[rows, exits].mean()),
        full_accuracy=None if arrays is None else float(arrays.correct[:, -1].mean()),
        curve=_curve(arrays, np.median(times[:, :, :ways], axis=0)) if arrays is not None and ways > 1 else (),
    )


def _curve(arrays: ExitArrays, milliseconds: npt.NDArray[np.float64]) -> tuple[CurvePoint, ...]:
    rows, points = np.arange(len(arrays.labels)), []
    for threshold in _CURVE:
        exits = first_exit(arrays.gates, threshold)
        accuracy, mean_ms = arrays.correct[rows, exits].mean(), milliseconds[rows, exits].mean()
        points.append(CurvePoint(threshold, float(accuracy), float(mean_ms)))
    return tuple(points)


@dataclass(frozen=True)
class Preprocessing:
    """What comes before the network: the file decoded, the picture resized and padded."""

    decode: Latency
    fit: Latency


def measure_preprocessing(files: Sequence[Path], image: InputSpec, rounds: int, told: Told) -> Preprocessing:
    """Time decoding and resizing apart."""
    side = image.size - image.pad
    pictures = [read_image(file, side) for file in files]
    calls = [lambda row: read_image(files[row], side), lambda row: fit(pictures[row], image)]
    times = time_in_turns(calls, len(files), rounds, told)
    return Preprocessing(Latency.of(times[:, :, 0]), Latency.of(times[:, :, 1]))
