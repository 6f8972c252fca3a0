"""A power meter outside the device, read from its log."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Found, Measurement, Meter
from gfnet_dynn.benchmark.energy.power import MAX_GAP_S, integrate, refuse_gaps
from gfnet_dynn.benchmark.energy.power_log import PowerLog
from gfnet_dynn.errors import MeterError

_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True)
class ExternalMeter(Meter):
    """Power that another device logs; its clock and this machine's must agree.

    Attributes:
        log: read when the energy is read.
        max_gap_s: seconds between two samples beyond which a measurement is refused.
        wait_s: seconds to wait after a measurement for the log to reach its end.
        clock: seconds since 1970.
        sleep: waits.
    """

    log: PowerLog
    max_gap_s: float = MAX_GAP_S
    wait_s: float = 10.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, log: PowerLog, **more: Any) -> ExternalMeter:
        """The meter that writes a log."""
        return cls("external meter", "everything that the external meter supplies", str(log.path), log, **more)

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        """Record start and end of a `with` block; the log is read when the energy is read."""
        measurement = Measurement()
        start_s = self.clock()
        try:
            yield measurement
        finally:
            end_s = self.clock()
            measurement.end(lambda: self._energy_once_logged(start_s, end_s))

    def energy_between(self, start_s: float, end_s: float) -> Energy:
        """Energy of an interval from the present log.

        Args:
            start_s: seconds since 1970.
            end_s: likewise.

        Raises:
            MeterError: the log cannot be read, does not cover the interval, or has too long a gap in it.
        """
        if not start_s < end_s:
            raise MeterError(
                f"{self.name}: no time passed from {start_s:.3f} s to {end_s:.3f} s (since 1970), or the clock was set"
                " back; measure again"
            )
        samples = self.log.read()
        if not samples or samples[0][0] > start_s or samples[-1][0] < end_s:
            covered = f"covers {samples[0][0]:.3f} s to {samples[-1][0]:.3f} s" if samples else "has no samples yet"
            raise MeterError(
                f"{self.source} {covered}, the measurement took place from {start_s:.3f} s to {end_s:.3f} s"
                " (since 1970): let the log begin before and end after it, synchronise both clocks, and log seconds"
            )
        times = [time_s for time_s, _ in samples]
        around = samples[bisect_right(times, start_s) - 1 : bisect_left(times, end_s) + 1]
        refuse_gaps(around, self.max_gap_s, self.source)
        joules = integrate(_cut(around, start_s, end_s))
        return Energy(joules, end_s - start_s, self.name, self.covers, MEASURED, self.source)

    def _energy_once_logged(self, start_s: float, end_s: float) -> Energy:
        # The last sample may be older than the end of the block: wait for the next one.
        waited_s = 0.0
        while waited_s < self.wait_s and not self._reaches(end_s):
            self.sleep(_LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S
        return self.energy_between(start_s, end_s)

    def _reaches(self, end_s: float) -> bool:
        samples = self.log.read()
        return bool(samples) and samples[-1][0] >= end_s


def find_external(path: Path) -> Found:
    """The meter of this log, if the log can be read."""
    log = PowerLog(path)
    try:
        log.read()
    except MeterError as error:
        return [], [f"external meter: {error}"]
    return [ExternalMeter.of(log)], []


def _cut(around: list[tuple[float, float]], start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Replace the first and last sample by values interpolated at start and end."""
    begin = (start_s, _between(around[0], around[1], start_s))
    end = (end_s, _between(around[-2], around[-1], end_s))
    return [begin, *around[1:-1], end]


def _between(earlier: tuple[float, float], later: tuple[float, float], time_s: float) -> float:
    return earlier[1] + (later[1] - earlier[1]) * (time_s - earlier[0]) / (later[0] - earlier[0])
