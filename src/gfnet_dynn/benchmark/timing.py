"""Times several ways to treat an image against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
"""Milliseconds, [rounds, images, calls]."""

_WARM_UP = 2  # images: first runs allocate and plan, later ones find caches that another call has filled


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
    calls: Sequence[Callable[[int], object]], images: int, rounds: int, told: Callable[[int, int], None]
) -> Times:
    """Milliseconds of each call for each image, one image at a time.

    The calls take turns, so that a change of the machine's speed meets all of them alike; each goes through all images
    before the next, as on a device where one network meets frame after frame. Before it does, it runs untimed: what
    another call left in the caches is not this one's cost.

    Args:
        calls: each takes the number of an image.
        images: how many there are.
        rounds: times that all is repeated.
        told: of rounds done, and of all.

    Returns:
        [rounds, images, calls in order].
    """
    times = np.empty((rounds, images, len(calls)))
    for turn in range(rounds):
        for index, call in enumerate(calls):
            for image in range(min(_WARM_UP, images)):
                call(image)
            for image in range(images):
                began = time.perf_counter()
                call(image)
                times[turn, image, index] = (time.perf_counter() - began) * 1e3
        told(turn + 1, rounds)
    return times
