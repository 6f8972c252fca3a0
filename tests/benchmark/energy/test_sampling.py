from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from gfnet_dynn.benchmark.energy.meter import REAL, Sample, SampledMeter, Timing
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome


@dataclass(frozen=True)
class Recorder(SampledMeter):
    """Its energy is the number of samples."""

    value: Callable[[], float]
    seen: list[Sample]

    def read(self) -> tuple[float, ...]:
        return (self.value(),)

    def joules(self, samples: Sequence[Sample]) -> float:
        self.seen.extend(samples)
        return len(samples)


def recorder(value: Callable[[], float], timing: Timing, interval_s: float = 0.5) -> Recorder:
    return Recorder("count", "nothing", "test", value, [], interval_s=interval_s, timing=timing)


def test_samples_are_taken_at_both_ends_and_at_regular_times_between() -> None:
    metronome = Metronome(beats=3)
    meter = recorder(lambda: metronome.now * 2, metronome.timing)

    def work() -> None:
        metronome.wait()
        metronome.now += 0.25

    energy = meter.measure(work)
    assert metronome.pauses == [0.5] * 3
    assert energy.seconds == 1.75
    assert [sample.time_s for sample in meter.seen] == [100.0, 100.5, 101.0, 101.5, 101.75]
    assert [sample.values for sample in meter.seen] == [(200.0,), (201.0,), (202.0,), (203.0,), (203.5,)]


def test_a_short_block_has_its_two_ends() -> None:
    energy = recorder(lambda: 0.0, Metronome(beats=0).timing).measure(lambda: None)
    assert energy.joules == 2


def test_real_time_goes_forward_and_the_pause_ends_when_stopped() -> None:
    assert REAL.clock() <= REAL.clock()
    stopped = threading.Event()
    stopped.set()
    assert REAL.pause(stopped, 3600.0)


def test_the_thread_is_gone_after_the_block_even_after_an_error_in_it() -> None:
    meter = recorder(lambda: 0.0, Timing(), interval_s=3600.0)

    def work() -> None:
        assert any(thread.name == "energy meter" for thread in threading.enumerate())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        meter.measure(work)
    assert not any(thread.name == "energy meter" for thread in threading.enumerate())


def failing_after(good: int, beats: int) -> Recorder:
    answers = iter(range(good))

    def value() -> float:
        if next(answers, None) is None:
            raise MeterError("sensor gone")
        return 1.0

    return recorder(value, Metronome(beats).timing)


def test_a_meter_that_fails_at_once_does_not_let_the_work_begin() -> None:
    with pytest.raises(MeterError, match="sensor gone"):
        failing_after(0, 0).measure(lambda: pytest.fail("the work began"))


@pytest.mark.parametrize(("good", "beats"), [(3, 5), (1, 0)])
def test_a_meter_that_fails_later_gives_no_energy_but_lets_the_work_end(good: int, beats: int) -> None:
    worked = []

    def work() -> None:
        for thread in threading.enumerate():
            if thread.name == "energy meter" and beats:
                thread.join(30)
                assert not thread.is_alive()
        worked.append(True)

    with pytest.raises(MeterError, match="sensor gone"):
        failing_after(good, beats).measure(work)
    assert worked
