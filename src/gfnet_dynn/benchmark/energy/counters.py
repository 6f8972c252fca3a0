"""Meters with a counter of the energy used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Measurement
from gfnet_dynn.benchmark.energy.sampling import REAL, Sample, Sampling, Timing, watch
from gfnet_dynn.errors import MeterError

# A counter that wraps around twice between two readings loses energy. The smallest range known, 65 kJ of the first
# processors with such counters, takes 11 minutes at 100 W.
_INTERVAL_S = 60.0


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
class CounterMeter:
    """The sum of some counters over a block.

    Attributes:
        name: short.
        covers: the parts of the device whose energy the counters count.
        source: files or calls that are read.
        counters: of parts that do not overlap.
        interval_s: seconds between two readings; far less than a counter takes to wrap around.
        timing: clock and pause.
    """

    name: str
    covers: str
    source: str
    counters: tuple[Counter, ...]
    interval_s: float = _INTERVAL_S
    timing: Timing = REAL

    def measure(self) -> AbstractContextManager[Measurement]:
        """Count during a `with` block."""
        return watch(Sampling(self.read, self.interval_s, self.timing), self._energy)

    def read(self) -> tuple[int, ...]:
        """The present counts.

        Raises:
            MeterError: a counter cannot be read.
        """
        return tuple(counter.read() for counter in self.counters)

    def _energy(self, samples: Sequence[Sample]) -> Energy:
        joules = sum(
            self._counts(counter, before.values[index], after.values[index]) * counter.joules
            for index, counter in enumerate(self.counters)
            for before, after in pairwise(samples)
        )
        seconds = samples[-1].time_s - samples[0].time_s
        return Energy(joules, seconds, self.name, self.covers, MEASURED, self.source)

    def _counts(self, counter: Counter, before: float, after: float) -> float:
        if after >= before:
            return after - before
        if counter.highest is None:
            raise MeterError(f"{self.source}: the energy counter went backwards during the measurement; measure again")
        return after - before + counter.highest
