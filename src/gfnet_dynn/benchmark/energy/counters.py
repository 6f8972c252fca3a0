"""Meters with a counter of the energy used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gfnet_dynn.benchmark.energy.sampling import Sample, SampledMeter
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
class CounterMeter(SampledMeter):
    """The sum of counters of parts that do not overlap."""

    counters: tuple[Counter, ...]
    interval_s: float = field(default=_INTERVAL_S, kw_only=True)

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
