"""Energy meters: all are read at start and end of a piece of work, sampled ones also in between, in a thread."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from gfnet_dynn.errors import MeterError

MAX_GAP_S = 2.0
"""Seconds between two samples of a power beyond which a measurement is refused."""

# A counter that wraps around twice between two readings loses energy. The smallest range known, 65 kJ of the first
# processors with such counters, takes 11 minutes at 100 W.
_COUNTER_INTERVAL_S = 60.0


class Energy(NamedTuple):
    """Joules over an interval, and its length in seconds."""

    joules: float
    seconds: float


@dataclass(frozen=True)
class Meter(ABC):
    """A device that measures energy."""

    name: str  # short, for a table
    covers: str  # the parts of the device whose energy it measures
    source: str  # files or calls that it reads

    @abstractmethod
    def measure(self, work: Callable[[], object]) -> Energy:
        """The energy used while `work` runs.

        Raises MeterError: the meter cannot be read at the start, and the work is not begun; or it fails later.
        """


Found = tuple[list[Meter], list[str]]
"""Meters that work here, and one sentence for each kind that does not."""


@dataclass(frozen=True)
class Estimate(Meter):
    """No meter, but a power in watts that the user knows."""

    power_w: float

    def measure(self, work: Callable[[], object]) -> Energy:
        """That power over the time of the work."""
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        return Energy(self.power_w * seconds, seconds)


@dataclass(frozen=True)
class Timing:
    """Clock of a meter in seconds, and how it waits until an event is set or seconds have passed; replaced in tests."""

    clock: Callable[[], float] = time.perf_counter
    pause: Callable[[threading.Event, float], object] = threading.Event.wait


REAL = Timing()


class Sample(NamedTuple):
    """All readings of one time in seconds."""

    time_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SampledMeter(Meter):
    """A meter that is read every `interval_s` seconds."""

    interval_s: float
    timing: Timing = REAL

    @abstractmethod
    def read(self) -> tuple[float, ...]:
        """Present readings; raises MeterError."""

    @abstractmethod
    def joules(self, samples: Sequence[Sample]) -> float:
        """Energy from at least two samples; raises MeterError where they do not determine it."""

    def measure(self, work: Callable[[], object]) -> Energy:
        """Sample while `work` runs; a failure after the first sample is raised at its end."""
        samples, failures, stopped = [self._sample()], list[MeterError](), threading.Event()

        def take() -> None:
            try:
                samples.append(self._sample())
            except MeterError as error:
                failures.append(error)

        def run() -> None:
            while not failures:
                self.timing.pause(stopped, self.interval_s)
                if stopped.is_set():
                    return
                take()

        thread = threading.Thread(target=run, name="energy meter", daemon=True)  # must not keep the process alive
        thread.start()
        try:
            work()
        finally:
            stopped.set()
            thread.join()
        take()
        if failures:
            raise failures[0]
        return Energy(self.joules(samples), samples[-1].time_s - samples[0].time_s)

    def _sample(self) -> Sample:
        return Sample(self.timing.clock(), self.read())


@dataclass(frozen=True)
class PowerMeter(SampledMeter):
    """The integral of a sampled power in watts, whose reading may raise MeterError."""

    read_power_w: Callable[[], float]

    def read(self) -> tuple[float, ...]:
        """The present power."""
        return (self.read_power_w(),)

    def joules(self, samples: Sequence[Sample]) -> float:
        """The integral; gaps are refused."""
        powers = [(sample.time_s, sample.values[0]) for sample in samples]
        refuse_gaps(powers, self.source)
        return integrate(powers)


@dataclass(frozen=True)
class Counter:
    """Energy used since an unknown time."""

    read: Callable[[], int]  # the present count; raises MeterError
    joules: float  # per count
    highest: int | None = None  # count after which it wraps around to 0; None if it never does


@dataclass(frozen=True)
class CounterMeter(SampledMeter):
    """The sum of counters of parts that do not overlap."""

    counters: tuple[Counter, ...]
    interval_s: float = field(default=_COUNTER_INTERVAL_S, kw_only=True)

    def read(self) -> tuple[float, ...]:
        """The present counts."""
        return tuple(counter.read() for counter in self.counters)

    def joules(self, samples: Sequence[Sample]) -> float:
        """Differences of the counts, wrap-around included."""
        total = 0.0
        for before, after in pairwise(samples):
            for counter, earlier, later in zip(self.counters, before.values, after.values, strict=True):
                if later < earlier and counter.highest is None:
                    raise MeterError(f"{self.source}: the energy counter went backwards; measure again")
                wrapped = counter.highest or 0 if later < earlier else 0
                total += (later - earlier + wrapped) * counter.joules
        return total


def refuse_gaps(samples: Sequence[tuple[float, float]], source: str) -> None:
    """Raise MeterError for samples (seconds, watts) more than `MAX_GAP_S` apart: too far to interpolate linearly."""
    for (earlier_s, _), (later_s, _) in pairwise(samples):
        if later_s - earlier_s > MAX_GAP_S:
            raise MeterError(
                f"{source}: no sample for {later_s - earlier_s:.2f} s after {earlier_s:.3f} s, more than"
                f" {MAX_GAP_S:g} s; measure again on a less busy machine, or with a meter that samples more often"
            )


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Joules of (seconds, watts), in order of time, by the trapezoidal rule."""
    return sum((first + second) / 2 * (end - start) for (start, first), (end, second) in pairwise(samples))
