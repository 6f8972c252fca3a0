"""Meters whose device adds the energy up by itself: only the counter is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Kind, Measurement
from gfnet_dynn.benchmark.energy.sampling import REAL, Sample, Sampling, Timing, watch
from gfnet_dynn.errors import MeterError

# A counter that starts over twice between two readings loses a whole round unseen. The smallest rounds known, 65 kJ of
# the first processors with such counters, take 11 minutes at 100 W.
_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Counter:
    """Energy used since some time in the past.

    Attributes:
        read: the count now; raises MeterError.
        joules: that one count is worth.
        highest: the count after which it starts over at 0; None for one that never does.
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
        interval_s: seconds between two readings; far less than a counter takes to start over.
        timing: clock and pause.
    """

    name: str
    covers: str
    source: str
    counters: tuple[Counter, ...]
    interval_s: float = _INTERVAL_S
    timing: Timing = REAL

    @property
    def kind(self) -> Kind:
        """The device counts energy that it measured."""
        return MEASURED

    def measure(self) -> AbstractContextManager[Measurement]:
        """Count during a `with` block."""
        return watch(Sampling(self.read, self.interval_s, self.timing), self._energy)

    def read(self) -> tuple[int, ...]:
        """The counts now.

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
        return Energy(joules, seconds, self.name, self.covers, self.kind, self.source)

    def _counts(self, counter: Counter, before: float, after: float) -> float:
        if after >= before:
            return after - before
        if counter.highest is None:
            raise MeterError(f"{self.source}: the energy counter went back during the measurement; measure again")
        return after - before + counter.highest
