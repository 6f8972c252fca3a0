"""`gfnet-dynn report`: evaluated runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfnet_dynn.cli.options import path
from gfnet_dynn.cli.terminal import Terminal


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of evaluated runs.", parser=path)],
    output: Annotated[Path, typer.Option(help="Folder for the report.", parser=path)] = Path("report"),
) -> None:
    """Compare evaluated runs in Markdown, HTML and JSON; those that differ in seed alone share a row, mean ± sd."""
    from gfnet_dynn.evaluation.comparison import compare, read_run  # noqa: PLC0415 # what other commands need not load
    from gfnet_dynn.evaluation.comparison_report import write_comparison  # noqa: PLC0415

    groups = compare([read_run(run) for run in runs])
    files = write_comparison(groups, output)
    console = Terminal()
    console.print(files[0].read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    console.print("\n".join(f"report: {file}" for file in files), markup=False, soft_wrap=True)
