"""How long each segment of a network takes on this device, measured when the service starts and while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.runtime.segments import SegmentedNet

_REPEATS = 5
_WEIGHT = 0.05  # of a new measurement in the running factor
_LIMITS = (0.5, 20.0)  # of that factor: a machine may be busy with other things, or hot


class SegmentCosts:
    """Seconds of each segment for a batch: a fixed part and one for each image, times a factor that follows the load.

    The factor is of all segments together: what slows one down, heat or another process, slows down all.
    """

    def __init__(self, fixed_s: Sequence[float], image_s: Sequence[float], batch: int) -> None:
        """Both of each segment, [G + 1]; `batch` is the largest."""
        self.batch = batch
        self._fixed_s, self._image_s = tuple(fixed_s), tuple(image_s)
        self._factor = 1.0

    @property
    def segments(self) -> int:
        """Number of segments, G + 1."""
        return len(self._fixed_s)

    def seconds(self, segment: int, images: int) -> float:
        """Expected time of one segment for a batch."""
        return self._factor * (self._fixed_s[segment] + images * self._image_s[segment])

    def mean_seconds(self, reached: Sequence[float]) -> float:
        """Time of an image in full batches, without the factor, by the share that reaches each segment, [≤ G + 1]."""
        costs = zip(reached, self._fixed_s, self._image_s, strict=False)
        return sum(share * (fixed / self.batch + each) for share, fixed, each in costs)

    @property
    def factor(self) -> float:
        """How much slower than at the start the device is now."""
        return self._factor

    def fastest_seconds(self, segment: int) -> float:
        """Time of one image that is never undercut, whatever the load was at the start."""
        return _LIMITS[0] * (self._fixed_s[segment] + self._image_s[segment])

    def forget(self) -> None:
        """Nothing ran for lack of time: without this, the factor of a busy spell could refuse all work for ever."""
        self._factor += _WEIGHT * (1.0 - self._factor)

    def observe(self, segment: int, images: int, seconds: float) -> None:
        """Follow a measurement of live work."""
        expected = self._fixed_s[segment] + images * self._image_s[segment]
        lowest, highest = _LIMITS
        found = min(max(seconds / expected, lowest), highest)
        self._factor += _WEIGHT * (found - self._factor)


def reached_shares(policy: Policy, precision: str, num_exits: int) -> tuple[float, ...]:
    """Share of the calibration images that each segment runs for, [G + 1].

    A policy that was not calibrated counts as the full network.
    """
    reference = policy.references.get(precision)
    if reference is None:
        never = all(threshold > 1 for threshold in policy.thresholds)
        first = not never and policy.thresholds and policy.thresholds[0] == 0
        return (1.0, *([0.0] * (num_exits - 1))) if first else (1.0,) * num_exits
    counts = np.array(reference.exit_counts)
    return tuple((counts[::-1].cumsum()[::-1] / counts.sum()).tolist())


def measure_costs(net: SegmentedNet, batch: int) -> SegmentCosts:
    """Time every segment with one image and with a full batch of noise, medians of several runs; takes moments."""
    side = net.manifest.input.size
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    one, many = _segment_seconds(net, images[:1]), _segment_seconds(net, images)
    image_s = [max((b - a) / max(1, batch - 1), 0.1 * a) for a, b in zip(one, many, strict=True)]
    return SegmentCosts([max(a - each, 0.0) for a, each in zip(one, image_s, strict=True)], image_s, batch)


def _segment_seconds(net: SegmentedNet, images: np.ndarray) -> list[float]:
    seconds, features = [], images
    for segment in range(net.manifest.num_exits):
        outputs = net.run(segment, features)  # the first run of a shape is slow
        seconds.append(median(_timed(partial(net.run, segment, features)) for _ in range(_REPEATS)))
        if outputs.features is not None:
            features = outputs.features
    return seconds


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
