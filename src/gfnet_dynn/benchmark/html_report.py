"""A device benchmark as an HTML page with plots; nothing is fetched when it is opened."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gfnet_dynn.benchmark.measurement import CandidateFigures
from gfnet_dynn.benchmark.report import DeviceReport, Table, sources, tables
from gfnet_dynn.errors import MissingExtraError
from gfnet_dynn.system.storage import write_bytes

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
table {{ border-collapse: collapse }} svg {{ max-width: 100%; height: auto }}
td, th {{ border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body><h1>{title}</h1>
{tables}
{plots}
<ul>{sources}</ul></body></html>
"""


def write_device_page(report: DeviceReport, path: Path) -> Path:
    """Write the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: it cannot be written.
    """
    page = _PAGE.format(
        title=html.escape(f"{report.bundle} on {report.machine.processor}"),
        tables="\n".join(_table(each) for each in tables(report)),
        plots="\n".join(_svg(draw, report.candidates) for draw in (_accuracy_latency, _exit_shares, _exit_latency)),
        sources="".join(f"<li>{html.escape(line)}</li>" for line in sources(report)),
    )
    return write_bytes(path, page.encode(errors="replace"))


def _table(table: Table) -> str:
    rows = [_row(table.headings, "th"), *(_row(row, "td") for row in table.rows)]
    below = f"<p>{html.escape(table.caption)}</p>" if table.caption else ""
    return f"<h2>{html.escape(table.title)}</h2><table>{''.join(rows)}</table>{below}"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _svg(draw: Callable[[Any, Sequence[CandidateFigures]], None], candidates: Sequence[CandidateFigures]) -> str:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("an HTML report with plots", "plots") from error
    figure, buffer = Figure(figsize=(8, 4), layout="constrained"), io.StringIO()
    draw(figure.subplots(), candidates)
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _label(figures: CandidateFigures) -> str:
    return figures.identity.label.replace("$", r"\$")  # which begins a formula


def _accuracy_latency(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for each in candidates:
        if each.curve:
            points = [(point.mean_ms, 100 * point.accuracy) for point in each.curve]
            axes.plot(*zip(*points, strict=True), "o-", label=_label(each), markersize=3)
        elif each.accuracy is not None:
            axes.plot(each.full.mean_ms, 100 * each.accuracy, "s", label=_label(each))
    axes.set(title="Accuracy against latency, thresholds swept", xlabel="mean ms, network alone", ylabel="top-1 %")
    if axes.has_data():
        axes.legend(fontsize="x-small")


def _exit_shares(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    shown = [each for each in candidates if len(each.exits) > 1]
    for position, each in enumerate(shown):
        left = 0.0
        for index, way in enumerate(each.exits):
            axes.barh(position, 100 * way.share, left=left, color=f"C{index}", label=way.name)
            left += 100 * way.share
    axes.set(title="Where the images leave", xlabel="% of the images", xlim=(0, 130))
    axes.set_yticks(range(len(shown)), [_label(each) for each in shown], fontsize="x-small")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        axes.legend(handles.values(), handles.keys(), fontsize="x-small", loc="right")


def _exit_latency(axes: Any, candidates: Sequence[CandidateFigures]) -> None:
    for each in candidates:
        macs = [way.macs_share * each.identity.macs / 1e6 for way in each.exits]
        axes.plot(macs, [way.latency.median_ms for way in each.exits], "o-", label=_label(each), markersize=3)
    axes.set(title="Latency of each exit", xlabel="MMACs, counted", ylabel="median ms, network alone", ylim=(0, None))
    axes.legend(fontsize="x-small")
