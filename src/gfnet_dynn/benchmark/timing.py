"""Time several ways to process an image in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.progress import OnStep, ignore_steps

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
    """Time each call on each image, one image at a time.

    The calls alternate, so that a change of the processor's speed affects all of them alike. Each call processes all
    images before the next call starts, as on a device that runs one network; two untimed images come first, so that
    no call pays for the caches that another one left.

    Args:
        calls: each takes the index of an image and returns when its work is done.
        images: their number.
        repeats: rounds over all calls and images.
        on_step: called after each round.

    Returns:
        [repeats, images, len(calls)].
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
