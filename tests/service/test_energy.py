"""Energy since the start."""

from __future__ import annotations

from gfnet_dynn.benchmark.energy.meter import Counter, CounterMeter, Estimate
from gfnet_dynn.errors import MeterError
from gfnet_dynn.service.energy import energy_totals

COUNTS = [900, 950, 20, 20]


def test_a_counter_is_added_up_over_its_end() -> None:
    counts = iter(COUNTS)
    meter = CounterMeter("RAPL package", "package 0", "a file", (Counter(lambda: next(counts), 0.5, 1000),))
    (total,) = energy_totals([Estimate("estimate", "what is given", "the user", 5.0), meter])
    assert total.meter == "RAPL package: package 0"
    assert [total.joules() for _ in range(3)] == [25, 60, 60]


def test_a_meter_that_fails_keeps_its_total() -> None:
    counts = iter(COUNTS[:2])

    def read() -> int:
        try:
            return next(counts)
        except StopIteration:
            raise MeterError("gone") from None

    meter = CounterMeter("RAPL package", "package 0", "a file", (Counter(read, 0.5, 1000),))
    (total,) = energy_totals([meter])
    assert [total.joules() for _ in range(2)] == [25, 25]
