"""`gfnet-dynn classify`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import click

from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, ModelChoiceError, OptionError
from gfnet_dynn.options import option
from gfnet_dynn.runtime.request import ClassifyRequest


@dataclass(frozen=True)
class Output:
    """Output."""

    top: int = option(1, "Classes of each image, the most probable first.")
    format: Literal["text", "json", "csv"] = option("text", "text, json (one line for each image) or csv.")

    def __post_init__(self) -> None:
        if self.top < 1:
            raise OptionError(f"--top must be at least 1, not {self.top}")


@dataclass(frozen=True)
class ClassifyOptions:
    """Options."""

    request: ClassifyRequest
    output: Output


REQUEST = ClassifyOptions


def classify(options: ClassifyOptions) -> None:
    """Classify images with a built-in model or a bundle. Needs no torch and no network connection.

    Unreadable files are named and skipped; the exit status is then 2.
    """
    from gfnet_dynn.cli.render.predictions import prediction_writer
    from gfnet_dynn.workflows.classification import iter_classify

    unreadable: list[DataError] = []

    def skip(error: DataError) -> None:
        unreadable.append(error)
        sys.stderr.write(f"error: {printable(error)}\n")

    def note(message: str) -> None:
        sys.stderr.write(f"{printable(message)}\n")

    write = prediction_writer(options.output.format, sys.stdout, options.output.top)
    for prediction in iter_classify(options.request, on_unreadable=skip, log=note, ask=_ask):
        write(prediction)
    if unreadable:
        raise SystemExit(2)


def _ask(error: ModelChoiceError) -> str:
    """The name of a built-in model, from whoever sits at the terminal; elsewhere the error is raised."""
    if not (error.models and sys.stdin.isatty() and sys.stderr.isatty()):
        raise error
    sys.stderr.write(f"{printable(error)}\n")
    chosen: str = click.prompt("Model", type=click.Choice(error.models), err=True)
    return chosen
