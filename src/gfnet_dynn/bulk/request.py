"""The request of `classify` with all that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.runtime.request import ClassifyRequest

FormatName = Literal["text", "json", "csv", "parquet"]

_output = partial(option, panel="Output")
_BY_SUFFIX: tuple[tuple[str, FormatName], ...] = (
    *((suffix, "json") for suffix in (".jsonl", ".ndjson", ".json")),
    (".csv", "csv"),
    (".parquet", "parquet"),
)


@dataclass(frozen=True, kw_only=True)
@lenient
class ClassifyFilesRequest(ClassifyRequest):
    """Options."""

    top: int = _output(1, "Classes of each image, the most probable first.")
    format: FormatName | None = _output(
        None,
        "text, json (one line for each image), csv or parquet (an extra). [default: by the suffix of --output: .jsonl, "
        ".csv, .parquet; otherwise text]",
    )
    output: Path | None = _output(
        None, "Write the answers here, when all are there. [default: standard output]", short="-o"
    )
    resume: bool = _output(False, "Continue the interrupted run of the same command with --output.", flag="--resume")
    copy_to: Path | None = _output(None, "Copy each image into FOLDER/CLASS; no file is overwritten.", metavar="FOLDER")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, ("top",), lambda count: count >= 1, "be at least 1")
        if self.format is None:
            object.__setattr__(self, "format", _format_of(self.output))
        if self.output is None and self.format == "parquet":
            raise OptionError("Parquet is written to a file: add --output FILE")
        if self.output is None and self.resume:
            raise OptionError("--resume continues a file of answers: add the --output of the interrupted run")


def _format_of(output: Path | None) -> FormatName:
    suffix = output.suffix.lower() if output else ""
    return dict(_BY_SUFFIX).get(suffix, "text")
