from __future__ import annotations

from dataclasses import asdict

import pytest

from gfnet_dynn.benchmark.energy.counters import Counter, CounterMeter
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
    with meter.measure() as measurement:
        metronome.now += 4.0
        counts.update(a=3_500_000, b=6_000)
    assert measurement.energy_j == pytest.approx(2.5 + 1.0)
    assert measurement.seconds == 4.0
    assert asdict(measurement.energy) | {"joules": 0} == {
        "joules": 0,
        "seconds": 4.0,
        "meter": "two",
        "covers": "both",
        "kind": "measured",
        "source": "test",
    }


def test_each_time_that_a_counter_starts_over_is_counted() -> None:
    counts = iter([900, 100, 950, 50, 60])  # highest 1000: 200 + 850 + 100 + 10
    metronome = Metronome(beats=3)
    meter = CounterMeter("c", "c", "test", (Counter(lambda: next(counts), 1.0, 1000),), timing=metronome.timing)
    with meter.measure() as measurement:
        metronome.wait()
    assert measurement.energy_j == 1160
    assert measurement.seconds == 180.0


def test_a_counter_that_never_starts_over_must_not_go_back() -> None:
    counts = iter([900, 100])
    meter = CounterMeter("c", "c", "the counter", (Counter(lambda: next(counts), 1.0),), timing=Metronome(0).timing)
    with meter.measure() as measurement:
        pass
    with pytest.raises(MeterError, match="the counter: the energy counter went backwards"):
        _ = measurement.energy_j


def test_measurements_of_one_meter_do_not_mix() -> None:
    count = 0
    meter = CounterMeter("c", "c", "test", (Counter(lambda: count, 1.0),), timing=Metronome(0).timing)
    with meter.measure() as outer:
        count = 5
        with meter.measure() as inner:
            count = 7
    assert (outer.energy_j, inner.energy_j) == (7, 2)
