from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from gfnet_dynn.benchmark.energy.meter import (
    ESTIMATED,
    MEASURED,
    Energy,
    Measurement,
    Meter,
    estimate,
    idle_power_w,
)
from gfnet_dynn.errors import MeterError

SEEN = Energy(6.0, 3.0, "a meter", "all", MEASURED, "somewhere")


@dataclass(frozen=True)
class ConstantMeter(Meter):
    """2 W over the time slept."""

    slept: list[float]

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        measurement = Measurement()
        yield measurement
        seconds = sum(self.slept)
        measurement.end(lambda: Energy(2 * seconds, seconds, self.name, self.covers, MEASURED, self.source))


def test_energy_over_time_is_power() -> None:
    assert SEEN.power_w == 2.0


def test_energy_over_no_time_has_no_power() -> None:
    with pytest.raises(MeterError, match="a meter: no time passed"):
        _ = Energy(0.0, 0.0, "a meter", "all", MEASURED, "somewhere").power_w


def test_a_measurement_is_read_after_its_end() -> None:
    measurement = Measurement()
    with pytest.raises(MeterError, match="after the with block"):
        _ = measurement.energy_j
    measurement.end(lambda: SEEN)
    assert (measurement.energy_j, measurement.seconds, measurement.energy) == (6.0, 3.0, SEEN)


def test_a_measurement_is_worked_out_once() -> None:
    answers = iter([SEEN])
    measurement = Measurement()
    measurement.end(lambda: next(answers))
    assert measurement.energy_j == 6.0
    assert measurement.seconds == 3.0


def test_a_measurement_that_failed_can_be_asked_again() -> None:
    answers: list[Energy] = []

    def result() -> Energy:
        if not answers:
            raise MeterError("not yet")
        return answers[0]

    measurement = Measurement()
    measurement.end(result)
    with pytest.raises(MeterError, match="not yet"):
        _ = measurement.energy
    answers.append(SEEN)
    assert measurement.energy is SEEN


def test_idle_power_is_measured_while_nothing_is_done() -> None:
    meter = ConstantMeter("a meter", "all", "somewhere", [])
    assert idle_power_w(meter, 5.0, sleep=meter.slept.append) == 2.0
    assert meter.slept == [5.0]


def test_an_estimate_says_that_it_is_one() -> None:
    energy = estimate(power_w=7.5, seconds=4.0)
    assert (energy.joules, energy.seconds, energy.power_w) == (30.0, 4.0, 7.5)
    assert energy.kind == ESTIMATED == "estimated"
    assert energy.source == "power given by the user"
