"""Answers as lines: text for people, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gfnet_dynn.display import printable, spreadsheet_cell
from gfnet_dynn.runtime.prediction import Answer, Prediction, Unreadable
from gfnet_dynn.system.storage import json_line
from gfnet_dynn.units import percent

_BETWEEN_CLASSES = "\t"  # in one cell of CSV: class names may hold whatever else can be printed


@dataclass(frozen=True)
class LineFormat:
    """What stands before the first line, and the line of an answer; either may be empty."""

    header: str
    line: Callable[[Answer], str]


def line_format(form: Literal["text", "json", "csv"], top: int, num_classes: int) -> LineFormat:
    """Lines with the `top` most probable of the classes. Text has none for what cannot be read."""
    if form == "json":
        return LineFormat("", lambda answer: json_line(_as_dict(answer, top)) + "\n")
    if form == "text":
        return LineFormat("", partial(_text, top=top))
    ranks = min(top, num_classes)
    columns = [f"{what}_{rank}" for rank in range(1, ranks + 1) for what in ("label", "probability")]
    header = _row(["source", "exit", *columns, "unknown", "prediction_set", "policy", "precision", "error"])
    return LineFormat(header, lambda answer: _row(_cells(answer, ranks)))


def _as_dict(answer: Answer, top: int) -> dict[str, object]:
    return answer.to_dict(top) if isinstance(answer, Prediction) else answer.to_dict()


def _text(answer: Answer, top: int) -> str:
    if isinstance(answer, Unreadable):
        return ""
    ranked = "  ".join(f"{printable(name)} {percent(value, 1)}" for name, value in answer.ranked(top))
    unknown = "unknown, most similar to " if answer.unknown else ""
    members = f"  set: {', '.join(map(printable, answer.prediction_set))}" if answer.prediction_set else ""
    return f"{printable(answer.source)}: {unknown}{ranked}  ({answer.exit}){members}\n"


def _row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cells(answer: Answer, ranks: int) -> list[str]:
    source = spreadsheet_cell(answer.source)
    if isinstance(answer, Unreadable):
        return [source, *[""] * (2 * ranks + 5), spreadsheet_cell(answer.error)]
    ranked = [cell for name, value in answer.ranked(ranks) for cell in (spreadsheet_cell(name), f"{value:.6f}")]
    unknown = "" if answer.unknown is None else str(answer.unknown).lower()
    members = spreadsheet_cell(_BETWEEN_CLASSES.join(answer.prediction_set or ()), keep=_BETWEEN_CLASSES)
    return [source, answer.exit, *ranked, unknown, members, answer.policy, answer.precision, ""]
