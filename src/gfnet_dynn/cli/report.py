"""`gfnet-dynn report`."""

from __future__ import annotations

import shlex

from gfnet_dynn.evaluation.request import ReportRequest


def report(request: ReportRequest) -> None:
    """Compare evaluated runs: Markdown, HTML, JSON and a plot.

    Runs that differ in their seed alone share a row: mean ± standard deviation, and the 95% interval.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.evaluation import report as run

    result = run(request)
    best = shlex.quote(str(result.groups[0].runs[0].folder))
    Terminal().show(result, files=result.files, following=[f"export {best} -o scene.gfd"])
