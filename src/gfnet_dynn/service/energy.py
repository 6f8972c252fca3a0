"""Energy that the device has used since the service started, where it has counters of energy."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gfnet_dynn.benchmark.energy.meter import CounterMeter, Sample
from gfnet_dynn.errors import MeterError
from gfnet_dynn.service.served_model import now


class EnergyTotal:
    """The total of one meter's counters; to be read more often than they wrap around, which takes hours."""

    def __init__(self, meter: CounterMeter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._latest = Sample(now(), meter.read())
        self._joules = 0.0

    @property
    def meter(self) -> str:
        """Name, and what it covers."""
        return f"{self._meter.name}: {self._meter.covers}"

    def joules(self) -> float:
        """Energy so far; that of the last reading where the meter cannot be read any more."""
        with self._lock:
            try:
                sample = Sample(now(), self._meter.read())
                self._joules += self._meter.joules([self._latest, sample])
                self._latest = sample
            except MeterError:
                pass
            return self._joules


def energy_totals(meters: Sequence[object]) -> list[EnergyTotal]:
    """Of those meters that count energy; a power that is only sampled says nothing of the time between readings."""
    return [EnergyTotal(each) for each in meters if isinstance(each, CounterMeter)]
