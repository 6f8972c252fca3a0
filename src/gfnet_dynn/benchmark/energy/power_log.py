"""The log of a power meter: a CSV file with a time and a power column."""

from __future__ import annotations

import math
from pathlib import Path

from gfnet_dynn.errors import MeterError
from gfnet_dynn.wording import counted

_TIME, _POWER = "time_s", "power_w"  # seconds since 1970, watts; case is ignored


def read_log(path: Path) -> list[tuple[float, float]]:
    """All complete lines of a file to which a meter appends, as (seconds since 1970, watts).

    Columns are named by the first line and separated by commas or semicolons, in any order; with semicolons a comma may
    be the decimal mark. A last line without a line break is incomplete and skipped.

    Raises:
        MeterError: it cannot be read, lacks a column, is not numeric, or its time goes backwards.
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
