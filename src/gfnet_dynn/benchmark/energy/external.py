"""A power meter outside the device, read from its log: a CSV file with a time and a power column."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfnet_dynn.benchmark.energy.meter import Energy, Found, Meter, integrate, refuse_gaps
from gfnet_dynn.errors import MeterError
from gfnet_dynn.wording import counted

_LOOK_AGAIN_S = 1.0
_TIME, _POWER = "time_s", "power_w"  # seconds since 1970, watts; case is ignored


@dataclass(frozen=True)
class ExternalMeter(Meter):
    """Power that another device logs; its clock and this machine's, in seconds since 1970, must agree.

    After a measurement, it waits up to `wait_s` seconds for the log to reach its end.
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
        """Energy of an interval, in seconds since 1970, from the present log.

        Raises MeterError: the log cannot be read, does not cover the interval, or has too long a gap in it.
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


def read_log(path: Path) -> list[tuple[float, float]]:
    """All complete lines of a file to which a meter appends, as (seconds since 1970, watts).

    Columns are named by the first line and separated by commas or semicolons, in any order; with semicolons a comma may
    be the decimal mark. A last line without a line break is incomplete and skipped. Raises MeterError: it cannot be
    read, lacks a column, is not numeric, or its time goes backwards.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MeterError(f"cannot read the meter's log {path} ({error.strerror}): check its path") from error
    except UnicodeDecodeError as error:
        raise MeterError(f"{path} is not UTF-8 text: save the meter's log as CSV in UTF-8") from error
    header, *lines = text.split("\n")[:-1] or [""]  # the last part is empty, or an incomplete line
    separator = ";" if ";" in header else ","
    columns = [name.casefold() for name in _cells(header, separator)]
    for name in (_TIME, _POWER):
        if columns.count(name) != 1:
            found = ", ".join(filter(None, columns)) or "none"
            raise MeterError(
                f"{path}, line 1: needs one column {name}, found {found}; name the columns {_TIME} and {_POWER}"
            )
    samples: list[tuple[float, float]] = []
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        where, cells = f"{path}, line {number}", _cells(line, separator)
        if len(cells) != len(columns):  # 1,5 for 1.5 between commas would be read as two numbers
            raise MeterError(
                f"{where}: {counted(len(cells), 'column')} where line 1 names {len(columns)};"
                " with decimal commas, put semicolons between the columns"
            )
        time_s, power_w = (_number(cells[columns.index(name)], where, separator) for name in (_TIME, _POWER))
        if samples and time_s < samples[-1][0]:
            raise MeterError(
                f"{where}: time goes back from {samples[-1][0]:.3f} s to {time_s:.3f} s;"
                " the meter's clock was set, so start a new log"
            )
        samples.append((time_s, power_w))
    return samples


def _number(text: str, where: str, separator: str) -> float:
    try:
        value = float(text.replace(",", ".") if separator == ";" else text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise MeterError(f"{where}: {text[:40]!r} is not a number; correct or remove the line")
    return value


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(separator)]
