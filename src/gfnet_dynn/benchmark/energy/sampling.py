"""Meters that are read at start and end of a piece of work, and at regular intervals in between, in a thread."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from gfnet_dynn.benchmark.energy.meter import Energy, Meter
from gfnet_dynn.errors import MeterError

MAX_GAP_S = 2.0
"""Seconds between two samples of a power beyond which a measurement is refused."""

# A counter that wraps around twice between two readings loses energy. The smallest range known, 65 kJ of the first
# processors with such counters, takes 11 minutes at 100 W.
_COUNTER_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Timing:
    """Clock and pause of a meter; replaced in tests.

    Attributes:
        clock: seconds, never backwards.
        pause: waits until the event is set or these seconds have passed.
    """

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
        """Present readings.

        Raises:
            MeterError: it cannot be read.
        """

    @abstractmethod
    def joules(self, samples: Sequence[Sample]) -> float:
        """Energy from at least two samples.

        Raises:
            MeterError: they do not determine it.
        """

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
    """The integral of a sampled power.

    Attributes:
        read_power_w: present power in watts; raises MeterError.
    """

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
    """Energy used since an unknown time.

    Attributes:
        read: the present count; raises MeterError.
        joules: per count.
        highest: count after which it wraps around to 0; None if it never does.
    """

    read: Callable[[], int]
    joules: float
    highest: int | None = None


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
        return sum(
            self._counts(counter, before.values[index], after.values[index]) * counter.joules
            for index, counter in enumerate(self.counters)
            for before, after in pairwise(samples)
        )

    def _counts(self, counter: Counter, before: float, after: float) -> float:
        if after >= before:
            return after - before
        if counter.highest is None:
            raise MeterError(f"{self.source}: the energy counter went backwards during the measurement; measure again")
        return after - before + counter.highest


def refuse_gaps(samples: Sequence[tuple[float, float]], source: str) -> None:
    """Refuse samples (seconds, watts) of a source that are too far apart to interpolate linearly.

    Raises:
        MeterError: two are more than `MAX_GAP_S` apart.
    """
    for (earlier_s, _), (later_s, _) in pairwise(samples):
        if later_s - earlier_s > MAX_GAP_S:
            raise MeterError(
                f"{source}: no sample for {later_s - earlier_s:.2f} s after {earlier_s:.3f} s, more than"
                f" {MAX_GAP_S:g} s; measure again on a less busy machine, or with a meter that samples more often"
            )


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Joules of (seconds, watts), in order of time, by the trapezoidal rule."""
    return sum(
        (earlier_w + later_w) / 2 * (later_s - earlier_s)
        for (earlier_s, earlier_w), (later_s, later_w) in pairwise(samples)
    )
