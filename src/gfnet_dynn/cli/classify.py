"""`gfnet-dynn classify`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from gfnet_dynn.cli.streams import print_error, print_note
from gfnet_dynn.errors import DataError
from gfnet_dynn.options import option, require
from gfnet_dynn.runtime.request import ClassifyRequest


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
    """Classify images with a bundle. Needs no torch and no network connection.

    Unreadable files are named and skipped; the exit status is then 2.
    """
    from gfnet_dynn.cli.render.predictions import prediction_writer
    from gfnet_dynn.workflows.classification import iter_classify

    unreadable: list[DataError] = []

    def skip(error: DataError) -> None:
        unreadable.append(error)
        print_error(error)

    write = prediction_writer(options.format, sys.stdout, options.top)
    for prediction in iter_classify(options, on_unreadable=skip, log=print_note):
        write(prediction)
    if unreadable:
        raise SystemExit(2)
