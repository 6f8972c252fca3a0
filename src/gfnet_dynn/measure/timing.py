"""Times several ways to treat an image against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
"""Milliseconds, [rounds, images, calls]."""

_WARM_UP = 2  # images: first runs allocate and plan


@dataclass(frozen=True)
class Latency:
    """How long one image takes, in milliseconds, over all images and rounds."""

    median_ms: float
    mean_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of(cls, milliseconds: npt.NDArray[np.float64]) -> Latency:
        """The figures of some measurements, of any shape."""
        median, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
        return cls(float(median), float(milliseconds.mean()), float(p90), float(p99))


def time_in_turns(
    groups: Sequence[Sequence[Callable[[int], object]]], images: int, rounds: int, told: Callable[[int, int], None]
) -> Times:
    """Milliseconds of each call for each image, one image at a time.

    The calls take turns at each image, so that a change of the machine's speed meets all of them alike. Before each
    group its first call runs untimed: what another group left in the caches is not this one's cost.

    Args:
        groups: calls that share what they read, such as the exits of one network; each takes the number of an image.
        images: how many there are.
        rounds: times that all is repeated.
        told: of rounds done, and of all.

    Returns:
        [rounds, images, all calls in order].
    """
    for group in groups:
        for call in group:
            for image in range(min(_WARM_UP, images)):
                call(image)
    times = np.empty((rounds, images, sum(len(group) for group in groups)))
    for turn in range(rounds):
        for image in range(images):
            times[turn, image] = [taken for group in groups for taken in _time_group(group, image)]
        told(turn + 1, rounds)
    return times


def _time_group(group: Sequence[Callable[[int], object]], image: int) -> Iterator[float]:
    group[0](image)
    for call in group:
        began = time.perf_counter()
        call(image)
        yield (time.perf_counter() - began) * 1e3
