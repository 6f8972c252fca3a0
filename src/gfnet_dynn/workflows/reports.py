"""Compare evaluated runs. No torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gfnet_dynn.errors import DataError, require_extra
from gfnet_dynn.evaluation.comparison import EvaluatedRun, compare, read_run
from gfnet_dynn.evaluation.comparison_report import ReportResult
from gfnet_dynn.evaluation.request import ReportRequest
from gfnet_dynn.reporting.page import html_page
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.system.storage import require_writable, write_bytes, write_json

_EARLIER = re.compile(r"(.+)\.previous-\d+")


def report(request: ReportRequest) -> ReportResult:
    """Compare runs, and write the comparison as Markdown, HTML, JSON and a plot.

    Folders that are no runs, runs that were moved aside by one of the others, and runs without evaluation are skipped.

    Raises:
        DataError: no evaluated run is left, one is damaged, or two repeat each other.
        StorageError: nothing can be written there.
        MissingExtraError: matplotlib is not installed.
    """
    require_extra("an HTML report with plots", "plots")
    runs, skipped = _read_runs(request.runs)
    if not runs:
        raise DataError("no evaluated run to report on: " + "; ".join(skipped))
    folder = require_writable(request.output)
    result = ReportResult(compare(runs), tuple(skipped))
    title = "Runs compared"
    files = (
        write_bytes(folder / "comparison.md", f"# {title}\n\n{result.to_markdown()}".encode()),
        write_bytes(folder / "comparison.html", html_page(title, result.tables(), [result.draw()], result.notes())),
        write_json(folder / "comparison.json", result.to_dict()),
        result.plot(folder / "comparison.png"),
    )
    return replace(result, files=files)


def _read_runs(folders: Sequence[Path]) -> tuple[list[EvaluatedRun], list[str]]:
    runs: list[EvaluatedRun] = []
    skipped: list[str] = []
    given = {folder.resolve() for folder in folders}
    for folder in folders:
        layout, earlier = RunLayout(folder), _EARLIER.fullmatch(folder.name)
        if not layout.record.is_file():
            skipped.append(f"skipped {folder}: not a run, it has no {layout.record.name}")
        elif earlier and folder.with_name(earlier[1]).resolve() in given:
            skipped.append(f"skipped {folder}: the earlier run in the folder {earlier[1]}")
        elif not layout.evaluation.is_file():
            skipped.append(f"skipped {folder}: not evaluated; run: gfnet-dynn evaluate {shlex.quote(str(folder))}")
        else:
            runs.append(read_run(folder))
    return runs, skipped
