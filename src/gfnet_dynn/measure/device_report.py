"""A device benchmark as JSON and as an HTML page with plots."""

from __future__ import annotations

import html
import io
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn import __version__
from gfnet_dynn.bundle.manifest import Policy
from gfnet_dynn.errors import MissingExtraError
from gfnet_dynn.measure.cold_start import ColdStart
from gfnet_dynn.measure.device import ContenderFigures, Preprocessing
from gfnet_dynn.measure.device_energy import EnergyReport
from gfnet_dynn.processor import processor
from gfnet_dynn.storage import write_bytes
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    processor: str
    architecture: str
    system: str
    python: str
    gfnet_dynn: str
    threads: int

    @classmethod
    def here(cls, threads: int) -> Machine:
        """This machine."""
        system = f"{platform.system()} {platform.release()}"
        return cls(processor(), platform.machine(), system, sys.version.split()[0], __version__, threads)


@dataclass(frozen=True)
class DeviceReport:
    """All figures of one run on one machine.

    Attributes:
        machine: where.
        bundle: path of the bundle that the benchmark is about.
        sha256: that identifies it.
        policy: by which its images leave.
        images: that were timed.
        labelled: whether the images' classes were known.
        rounds: times that all was repeated.
        contenders: the bundle in each engine and precision, and whatever stands beside it.
        preprocessing: before the network.
        cold_starts: of a fresh process.
        energy: by meter.
        precisions: accuracy and exit shares by precision that export found on the selection split.
    """

    machine: Machine
    bundle: str
    sha256: str
    policy: Policy
    images: int
    labelled: bool
    rounds: int
    contenders: tuple[ContenderFigures, ...]
    preprocessing: Preprocessing
    cold_starts: tuple[ColdStart, ...]
    energy: EnergyReport
    precisions: Mapping[str, Any]


def sources(report: DeviceReport) -> list[str]:
    """How each number came about."""
    machine, before = report.machine, report.preprocessing
    engines = ", ".join(dict.fromkeys(each.engine for each in report.contenders))
    extent = f"{counted(report.images, 'image')} and {counted(report.rounds, 'round')}"
    return [
        f"Time: measured on this machine ({machine.processor}, {machine.architecture}; {engines}) at batch 1, "
        f"{counted(machine.threads, 'thread')}, over {extent}, all networks in turns at each image. full: all stages, "
        "median; mix: by the exit policy, network alone, mean, p90, p99; file→label: with decoding and resizing, mean.",
        f"Exit policy: {report.policy.name} ({report.policy.source}).",
        f"Decoding {before.decode.median_ms:.2f} ms, resizing {before.fit.median_ms:.2f} ms (medians, measured apart). "
        "MACs: counted from shapes. MB: files on disk.",
        "top-1: measured on these images, by the folders that they lie in." if report.labelled else "top-1: not known.",
        "Fresh process: from start to exit of `gfnet-dynn classify` with one image, medians; peak resident memory.",
    ]


def device_report_to_dict(report: DeviceReport) -> dict[str, Any]:
    """As JSON values."""
    described = asdict(report)
    described["policy"]["thresholds"] = [_finite(value) for value in report.policy.thresholds]
    for mine, each in zip(described["contenders"], report.contenders, strict=True):
        mine["images_per_s"] = each.images_per_s
        for point in mine["curve"]:
            point["threshold"] = _finite(point["threshold"])
    return {**described, "sources": sources(report)}


def _finite(threshold: float) -> float | None:
    return None if math.isinf(threshold) else threshold


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
table {{ border-collapse: collapse }} svg {{ max-width: 100%; height: auto }}
td, th {{ border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body><h1>{title}</h1>
{table}
{plots}
<ul>{sources}</ul></body></html>
"""

_HEADINGS = ("network", "size MB", "full ms", "mix ms", "p90 ms", "p99 ms", "file→label ms", "images/s", "top-1 %")


def write_device_html(report: DeviceReport, path: Path) -> Path:
    """Write the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: it cannot be written.
    """
    rows = [_HEADINGS, *(_row(each) for each in report.contenders)]
    page = _PAGE.format(
        title=html.escape(f"{Path(report.bundle).name} on {report.machine.processor}"),
        table="<table>"
        + "".join(_html_row(row, "td" if index else "th") for index, row in enumerate(rows))
        + "</table>",
        plots="\n".join(_svg(draw, report.contenders) for draw in (_accuracy_latency, _exit_shares, _exit_latency)),
        sources="".join(f"<li>{html.escape(line)}</li>" for line in sources(report)),
    )
    return write_bytes(path, page.encode())


def label(figures: ContenderFigures) -> str:
    """Name, engine and precision of a network, short; versions stand among the sources."""
    return f"{figures.name}, {figures.engine.split()[0]} {figures.precision}"


def _row(figures: ContenderFigures) -> tuple[str, ...]:
    milliseconds = (figures.full.median_ms, figures.mix.mean_ms, figures.mix.p90_ms, figures.mix.p99_ms)
    return (
        label(figures),
        "–" if figures.size_bytes is None else f"{figures.size_bytes / 1e6:.1f}",
        *(f"{value:.2f}" for value in (*milliseconds, figures.end_to_end.mean_ms)),
        f"{figures.images_per_s:.0f}",
        "–" if figures.accuracy is None else f"{100 * figures.accuracy:.1f}",
    )


def _html_row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _svg(draw: Any, contenders: Sequence[ContenderFigures]) -> str:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 # slow to import
    except ImportError as error:
        raise MissingExtraError("an HTML report with plots", "plots") from error
    figure = Figure(figsize=(8, 4), layout="constrained")
    draw(figure.subplots(), contenders)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _accuracy_latency(axes: Any, contenders: Sequence[ContenderFigures]) -> None:
    for each in contenders:
        if each.curve:
            points = sorted((point.mean_ms, 100 * point.accuracy) for point in each.curve)
            axes.plot(*zip(*points, strict=True), "o-", label=label(each), markersize=3)
        elif each.accuracy is not None:
            axes.plot(each.full.mean_ms, 100 * each.accuracy, "s", label=label(each))
    axes.set(title="Accuracy against latency, thresholds swept", xlabel="mean ms, network alone", ylabel="top-1 %")
    if axes.has_data():
        axes.legend(fontsize="x-small")


def _exit_shares(axes: Any, contenders: Sequence[ContenderFigures]) -> None:
    shown = [each for each in contenders if len(each.exit_shares) > 1]
    for position, each in enumerate(shown):
        left = 0.0
        for index, share in enumerate(each.exit_shares):
            axes.barh(position, 100 * share, left=left, color=f"C{index}", label=each.ways_out[index].name)
            left += 100 * share
    axes.set(title="Where the images leave", xlabel="% of the images")
    axes.set_yticks(range(len(shown)), [label(each) for each in shown], fontsize="x-small")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        axes.legend(handles.values(), handles.keys(), fontsize="x-small")


def _exit_latency(axes: Any, contenders: Sequence[ContenderFigures]) -> None:
    for each in contenders:
        macs = [way.macs_share * each.macs / 1e6 for way in each.ways_out]
        axes.plot(macs, [way.latency.median_ms for way in each.ways_out], "o-", label=label(each), markersize=3)
    axes.set(title="Latency of each exit", xlabel="MMACs, counted", ylabel="median ms, network alone", ylim=(0, None))
    axes.legend(fontsize="x-small")
