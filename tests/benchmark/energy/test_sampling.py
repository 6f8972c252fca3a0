from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy
from gfnet_dynn.benchmark.energy.sampling import REAL, Sample, Sampling, Timing, watch
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome


def span(samples: Sequence[Sample]) -> Energy:
    return Energy(len(samples), samples[-1].time_s - samples[0].time_s, "count", "nothing", MEASURED, "test")


def test_samples_are_taken_at_both_ends_and_at_regular_times_between() -> None:
    metronome = Metronome(beats=3)
    sampling = Sampling(lambda: (metronome.now * 2,), 0.5, metronome.timing)
    with watch(sampling, span) as measurement:
        metronome.wait()
        metronome.now += 0.25
    assert metronome.pauses == [0.5] * 3
    assert [sample.time_s for sample in sampling.samples()] == [100.0, 100.5, 101.0, 101.5, 101.75]
    assert [sample.values for sample in sampling.samples()] == [(200.0,), (201.0,), (202.0,), (203.0,), (203.5,)]
    assert measurement.seconds == 1.75


def test_a_short_block_has_its_two_ends() -> None:
    metronome = Metronome(beats=0)
    with watch(Sampling(lambda: (0.0,), 0.5, metronome.timing), span) as measurement:
        pass
    assert measurement.energy_j == 2


def test_real_time_goes_forward_and_the_pause_ends_when_told() -> None:
    assert REAL.clock() <= REAL.clock()
    stopped = threading.Event()
    stopped.set()
    assert REAL.pause(stopped, 3600.0)


def test_the_thread_is_gone_after_the_block_even_after_an_error_in_it() -> None:
    sampling = Sampling(lambda: (0.0,), 3600.0, Timing())
    with pytest.raises(ZeroDivisionError), watch(sampling, span) as measurement:
        assert any(thread.name == "energy meter" for thread in threading.enumerate())
        raise ZeroDivisionError
    assert not any(thread.name == "energy meter" for thread in threading.enumerate())
    assert measurement.energy_j == 2


def failing_after(good: int) -> Sampling:
    answers = iter(range(good))
    metronome = Metronome(beats=5)

    def read() -> tuple[float, ...]:
        if next(answers, None) is None:
            raise MeterError("sensor gone")
        return (1.0,)

    return Sampling(read, 0.5, metronome.timing)


def test_a_meter_that_fails_at_once_does_not_let_the_work_begin() -> None:
    with pytest.raises(MeterError, match="sensor gone"), watch(failing_after(0), span):
        pytest.fail("the block was entered")


def test_a_meter_that_fails_meanwhile_gives_no_energy_but_lets_the_work_end() -> None:
    worked = False
    sampling = failing_after(3)
    with watch(sampling, span) as measurement:
        sampling._thread.join(30)
        assert not sampling._thread.is_alive()
        worked = True
    assert worked
    with pytest.raises(MeterError, match="sensor gone"):
        _ = measurement.energy_j


def test_a_meter_that_fails_at_the_end_gives_no_energy() -> None:
    metronome = Metronome(beats=0)
    answers = iter([(1.0,)])

    def read() -> tuple[float, ...]:
        try:
            return next(answers)
        except StopIteration:
            raise MeterError("sensor gone") from None

    with watch(Sampling(read, 0.5, metronome.timing), span) as measurement:
        pass
    with pytest.raises(MeterError, match="sensor gone"):
        _ = measurement.energy
