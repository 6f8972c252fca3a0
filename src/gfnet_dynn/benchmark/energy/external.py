"""A power meter outside the device, read from its log."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfnet_dynn.benchmark.energy.meter import Energy, Found, Meter
from gfnet_dynn.benchmark.energy.power_log import read_log
from gfnet_dynn.benchmark.energy.sampling import integrate, refuse_gaps
from gfnet_dynn.errors import MeterError

_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True)
class ExternalMeter(Meter):
    """Power that another device logs; its clock and this machine's must agree.

    Attributes:
        log: read when the energy is read.
        wait_s: seconds to wait after a measurement for the log to reach its end.
        clock: seconds since 1970.
        sleep: waits.
    """

    log: Path
    wait_s: float = 10.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def measure(self, work: Callable[[], object]) -> Energy:
        """Note start and end of the work; then wait until the log reaches its end."""
        start_s = self.clock()
        work()
        end_s = self.clock()
        waited_s = 0.0
        while waited_s < self.wait_s and not self._reaches(end_s):
            self.sleep(_LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S
        return self.energy_between(start_s, end_s)

    def _reaches(self, end_s: float) -> bool:
        samples = read_log(self.log)
        return bool(samples) and samples[-1][0] >= end_s

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
        samples = read_log(self.log)
        if not samples or samples[0][0] > start_s or samples[-1][0] < end_s:
            covered = f"covers {samples[0][0]:.3f} s to {samples[-1][0]:.3f} s" if samples else "has no samples yet"
            raise MeterError(
                f"{self.source} {covered}, the measurement took place from {start_s:.3f} s to {end_s:.3f} s"
                " (since 1970): let the log begin before and end after it, synchronise both clocks, and log seconds"
            )
        times, powers = zip(*samples, strict=True)
        around = samples[bisect_right(times, start_s) - 1 : bisect_left(times, end_s) + 1]
        refuse_gaps(around, self.source)
        first_w, last_w = np.interp((start_s, end_s), times, powers).tolist()
        return Energy(integrate([(start_s, first_w), *around[1:-1], (end_s, last_w)]), end_s - start_s)


def find_external(path: Path) -> Found:
    """The meter of this log, if the log can be read."""
    try:
        read_log(path)
    except MeterError as error:
        return [], [f"external meter: {error}"]
    return [ExternalMeter("external meter", "everything that the external meter supplies", str(path), path)], []
