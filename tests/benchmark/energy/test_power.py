from __future__ import annotations

import pytest

from gfnet_dynn.benchmark.energy.meter import PowerMeter, integrate, refuse_gaps
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome


def test_the_integral_is_exact_for_straight_lines() -> None:
    assert integrate([(0.0, 0.0), (1.0, 2.0), (4.0, 2.0)]) == 1.0 + 6.0


@pytest.mark.parametrize("samples", [[], [(1.0, 5.0)]])
def test_less_than_two_samples_hold_no_energy(samples: list[tuple[float, float]]) -> None:
    assert integrate(samples) == 0


def test_gaps_are_refused_only_beyond_the_limit() -> None:
    refuse_gaps([(0.0, 1.0), (2.0, 1.0)], "log")
    with pytest.raises(MeterError, match=r"log: no sample for 2\.50 s after 1\.000 s."):
        refuse_gaps([(0.0, 1.0), (1.0, 1.0), (3.5, 1.0)], "log")


def test_power_is_integrated_over_the_block() -> None:
    metronome = Metronome(beats=4)
    meter = PowerMeter("p", "all", "test", lambda: metronome.now - 100, interval_s=0.5, timing=metronome.timing)

    def work() -> None:
        metronome.wait()
        metronome.now += 1.0

    energy = meter.measure(work)
    assert metronome.pauses == [0.5] * 4
    assert energy.joules == pytest.approx(3.0**2 / 2)
    assert energy.seconds == 3.0


def test_a_thread_that_was_held_up_too_long_gives_no_energy() -> None:
    metronome = Metronome(beats=1)
    meter = PowerMeter("p", "all", "test", lambda: 1.0, interval_s=0.5, timing=metronome.timing)

    def work() -> None:
        metronome.wait()
        metronome.now += 2.25

    with pytest.raises(MeterError, match=r"test: no sample for 2\.25 s"):
        meter.measure(work)
