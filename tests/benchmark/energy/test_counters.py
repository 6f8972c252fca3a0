from __future__ import annotations

import pytest

from gfnet_dynn.benchmark.energy.meter import Counter, CounterMeter
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome


def test_counters_are_weighed_and_added() -> None:
    metronome = Metronome(beats=0)
    counts = {"a": 1_000_000, "b": 5_000}
    meter = CounterMeter(
        "two",
        "both",
        "test",
        (Counter(lambda: counts["a"], 1e-6), Counter(lambda: counts["b"], 1e-3)),
        timing=metronome.timing,
    )

    def work() -> None:
        metronome.now += 4.0
        counts.update(a=3_500_000, b=6_000)

    energy = meter.measure(work)
    assert energy.joules == pytest.approx(2.5 + 1.0)
    assert energy.seconds == 4.0


def test_each_time_that_a_counter_starts_over_is_counted() -> None:
    counts = iter([900, 100, 950, 50, 60])  # highest 1000: 200 + 850 + 100 + 10
    metronome = Metronome(beats=3)
    meter = CounterMeter("c", "c", "test", (Counter(lambda: next(counts), 1.0, 1000),), timing=metronome.timing)
    energy = meter.measure(metronome.wait)
    assert energy.joules == 1160
    assert energy.seconds == 180.0


def test_a_counter_that_never_starts_over_must_not_go_back() -> None:
    counts = iter([900, 100])
    meter = CounterMeter("c", "c", "the counter", (Counter(lambda: next(counts), 1.0),), timing=Metronome(0).timing)
    with pytest.raises(MeterError, match="the counter: the energy counter went backwards"):
        meter.measure(lambda: None)


def test_measurements_of_one_meter_do_not_mix() -> None:
    count, inner = 0, []
    meter = CounterMeter("c", "c", "test", (Counter(lambda: count, 1.0),), timing=Metronome(0).timing)

    def count_to(target: int) -> None:
        nonlocal count
        count = target

    def work() -> None:
        count_to(5)
        inner.append(meter.measure(lambda: count_to(7)).joules)

    assert (meter.measure(work).joules, inner) == (7, [2])
