"""Predictions as text, JSON lines and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import TextIO

from gfnet_dynn.display import printable, spreadsheet_cell
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.system.storage import json_line
from gfnet_dynn.units import percent

_BETWEEN_CLASSES = "\t"  # in one cell of CSV: class names may hold whatever else can be printed

Writer = Callable[[Prediction], None]


def prediction_writer(form: str, out: TextIO, top: int) -> Writer:
    """A function that writes one prediction.

    Args:
        form: `text`, `json` (a line for each image) or `csv`.
        out: where to.
        top: number of classes of each image, the most probable first.
    """
    write = _WRITERS[form](out, top)

    def write_and_flush(prediction: Prediction) -> None:
        write(prediction)
        out.flush()

    return write_and_flush


def _text_writer(out: TextIO, top: int) -> Writer:
    def write(prediction: Prediction) -> None:
        ranked = "  ".join(f"{printable(name)} {percent(value, 1)}" for name, value in prediction.ranked(top))
        unknown = "unknown, most similar to " if prediction.unknown else ""
        members = f"  set: {', '.join(map(printable, prediction.prediction_set))}" if prediction.prediction_set else ""
        out.write(f"{printable(prediction.source)}: {unknown}{ranked}  ({prediction.exit}){members}\n")

    return write


def _json_writer(out: TextIO, top: int) -> Writer:
    def write(prediction: Prediction) -> None:
        out.write(json_line(prediction.to_dict(top)) + "\n")

    return write


def _csv_writer(out: TextIO, top: int) -> Writer:
    writer = csv.writer(out, lineterminator="\n")
    begun = False

    def write(prediction: Prediction) -> None:
        nonlocal begun
        ranked = prediction.ranked(top)
        if not begun:
            ranks = [f"{what}_{rank}" for rank in range(1, len(ranked) + 1) for what in ("label", "probability")]
            writer.writerow(["source", "exit", *ranks, "unknown", "prediction_set", "policy", "precision"])
            begun = True
        cells = [cell for name, value in ranked for cell in (spreadsheet_cell(name), f"{value:.6f}")]
        unknown = "" if prediction.unknown is None else str(prediction.unknown).lower()
        members = spreadsheet_cell(_BETWEEN_CLASSES.join(prediction.prediction_set or ()), keep=_BETWEEN_CLASSES)
        answered_by = (prediction.policy, prediction.precision)
        writer.writerow([spreadsheet_cell(prediction.source), prediction.exit, *cells, unknown, members, *answered_by])

    return write


_WRITERS: Mapping[str, Callable[[TextIO, int], Writer]] = {
    "text": _text_writer,
    "json": _json_writer,
    "csv": _csv_writer,
}
