"""`gfnet-dynn classify`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

import click

from gfnet_dynn.cli.streams import print_error, print_note
from gfnet_dynn.display import printable, spreadsheet_cell
from gfnet_dynn.errors import DataError, ModelChoiceError
from gfnet_dynn.options import option, require
from gfnet_dynn.runtime.request import ClassifyRequest
from gfnet_dynn.system.storage import json_line
from gfnet_dynn.units import percent

if TYPE_CHECKING:  # its NumPy would slow the help down
    from gfnet_dynn.runtime.prediction import Prediction

_BETWEEN_CLASSES = "\t"  # in one cell of CSV: class names may hold whatever else can be printed


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(ClassifyRequest):
    """Options."""

    top: int = option(1, "Classes of each image, the most probable first.", panel="Output")
    format: Literal["text", "json", "csv"] = option(
        "text", "text, json (one line for each image) or csv.", panel="Output"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, ("top",), lambda count: count >= 1, "be at least 1")


def classify(options: ClassifyOptions) -> None:
    """Classify images with a built-in model or a bundle. Needs no torch and no network connection.

    Unreadable files are named and skipped; the exit status is then 2.
    """
    from gfnet_dynn.workflows.classification import iter_classify

    unreadable: list[DataError] = []

    def skip(error: DataError) -> None:
        unreadable.append(error)
        print_error(error)

    write = _writer(options.format, sys.stdout, options.top)
    for prediction in iter_classify(options, on_unreadable=skip, log=print_note, ask=_ask):
        write(prediction)
    if unreadable:
        raise SystemExit(2)


def _ask(error: ModelChoiceError) -> str:
    """The name of a built-in model, from whoever sits at the terminal; elsewhere the error is raised."""
    if not (error.models and sys.stdin.isatty() and sys.stderr.isatty()):
        raise error
    print_note(str(error))
    chosen: str = click.prompt("Model", type=click.Choice(error.models), err=True)
    return chosen


def _writer(form: str, out: TextIO, top: int) -> Callable[[Prediction], None]:
    """A function that writes one prediction, with its most probable classes."""
    rows = csv.writer(out, lineterminator="\n")
    begun = False

    def write(prediction: Prediction) -> None:
        nonlocal begun
        if form == "csv":
            if not begun:
                count = len(prediction.ranked(top))
                ranks = [f"{what}_{rank}" for rank in range(1, count + 1) for what in ("label", "probability")]
                rows.writerow(["source", "exit", *ranks, "unknown", "prediction_set", "policy", "precision"])
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


def _cells(prediction: Prediction, top: int) -> list[str]:
    ranked = [cell for name, value in prediction.ranked(top) for cell in (spreadsheet_cell(name), f"{value:.6f}")]
    unknown = "" if prediction.unknown is None else str(prediction.unknown).lower()
    members = spreadsheet_cell(_BETWEEN_CLASSES.join(prediction.prediction_set or ()), keep=_BETWEEN_CLASSES)
    made_by = (prediction.policy, prediction.precision)
    return [spreadsheet_cell(prediction.source), prediction.exit, *ranked, unknown, members, *made_by]
