"""Predictions as text, JSON lines and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import TextIO

from gfnet_dynn.display import printable, spreadsheet_cell
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.system.storage import json_line
from gfnet_dynn.units import percent

_BETWEEN_CLASSES = "\t"  # in one cell of CSV: class names may hold whatever else can be printed


def prediction_writer(form: str, out: TextIO, top: int) -> Callable[[Prediction], None]:
    """A function that writes one prediction.

    Args:
        form: `text`, `json` (a line for each image) or `csv`.
        out: where to.
        top: number of classes of each image, the most probable first.
    """
    rows = csv.writer(out, lineterminator="\n")
    begun = False

    def write(prediction: Prediction) -> None:
        nonlocal begun
        if form == "csv":
            if not begun:
                rows.writerow(_headings(len(prediction.ranked(top))))
            rows.writerow(_cells(prediction, top))
        else:
            out.write((json_line(prediction.to_dict(top)) if form == "json" else _text(prediction, top)) + "\n")
        begun = True
        out.flush()

    return write


def _text(prediction: Prediction, top: int) -> str:
    ranked = "  ".join(f"{printable(name)} {percent(value, 1)}" for name, value in prediction.ranked(top))
    unknown = "unknown, most similar to " if prediction.unknown else ""
    members = f"  set: {', '.join(map(printable, prediction.prediction_set))}" if prediction.prediction_set else ""
    return f"{printable(prediction.source)}: {unknown}{ranked}  ({prediction.exit}){members}"


def _headings(top: int) -> list[str]:
    ranks = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("label", "probability")]
    return ["source", "exit", *ranks, "unknown", "prediction_set", "policy", "precision"]


def _cells(prediction: Prediction, top: int) -> list[str]:
    ranked = [cell for name, value in prediction.ranked(top) for cell in (spreadsheet_cell(name), f"{value:.6f}")]
    unknown = "" if prediction.unknown is None else str(prediction.unknown).lower()
    members = spreadsheet_cell(_BETWEEN_CLASSES.join(prediction.prediction_set or ()), keep=_BETWEEN_CLASSES)
    made_by = (prediction.policy, prediction.precision)
    return [spreadsheet_cell(prediction.source), prediction.exit, *ranked, unknown, members, *made_by]
