"""The log of a power meter: a CSV file with a time and a power column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import MeterError
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class PowerLog:
    """A file to which a meter appends lines.

    Columns are separated by commas or semicolons, in any order; with semicolons a comma may be the decimal mark. A last
    line without a line break is incomplete and skipped.

    Attributes:
        path: the file; its first line names the columns.
        time_column: seconds since 1970; case is ignored.
        power_column: watts; case is ignored.
    """

    path: Path
    time_column: str = "time_s"
    power_column: str = "power_w"

    def read(self) -> list[tuple[float, float]]:
        """All complete lines, as (seconds since 1970, watts).

        Raises:
            MeterError: it cannot be read, lacks a column, is not numeric, or its time goes backwards.
        """
        lines = self._complete_lines()
        header = lines[0] if lines else ""
        separator = ";" if ";" in header else ","
        columns = [name.casefold() for name in _cells(header, separator)]
        places = [self._place(columns, name) for name in (self.time_column, self.power_column)]
        samples: list[tuple[float, float]] = []
        for number, line in enumerate(lines[1:], start=2):
            if not line.strip():
                continue
            cells = _cells(line, separator)
            if len(cells) != len(columns):  # 1,5 for 1.5 between commas would be read as two numbers
                raise MeterError(
                    f"{self.path}, line {number}: {counted(len(cells), 'column')} where line 1 names {len(columns)};"
                    " with decimal commas, put semicolons between the columns"
                )
            time_s, power_w = (self._number(cells[place], number, separator) for place in places)
            if samples and time_s < samples[-1][0]:
                raise MeterError(
                    f"{self.path}, line {number}: time goes back from {samples[-1][0]:.3f} s to {time_s:.3f} s;"
                    " the meter's clock was set, so start a new log"
                )
            samples.append((time_s, power_w))
        return samples

    def _complete_lines(self) -> list[str]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise MeterError(f"cannot read the meter's log {self.path} ({error.strerror}): check its path") from error
        except UnicodeDecodeError as error:
            raise MeterError(f"{self.path} is not UTF-8 text: save the meter's log as CSV in UTF-8") from error
        return text.split("\n")[:-1]  # the last part is empty, or an incomplete line

    def _place(self, columns: list[str], name: str) -> int:
        if columns.count(name.casefold()) != 1:
            found = ", ".join(filter(None, columns)) or "none"
            raise MeterError(
                f"{self.path}, line 1: needs one column {name}, found {found}; name the columns"
                f" {self.time_column} and {self.power_column}"
            )
        return columns.index(name.casefold())

    def _number(self, text: str, number: int, separator: str) -> float:
        try:
            value = float(text.replace(",", ".") if separator == ";" else text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise MeterError(f"{self.path}, line {number}: {text[:40]!r} is not a number; correct or remove the line")
        return value


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(separator)]
