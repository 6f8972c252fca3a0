"""Tables of a device benchmark in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from gfnet_dynn.measure.device import ContenderFigures
from gfnet_dynn.measure.device_report import DeviceReport, label, sources
from gfnet_dynn.wording import counted


def print_device_benchmark(report: DeviceReport, console: Console) -> None:
    """Print all figures, and how they came about."""
    for table in (_networks(report), _exits(report.contenders), _starts(report), _energy(report)):
        console.print(table)
    for line in sources(report):
        console.print(line, markup=False, highlight=False)


def _networks(report: DeviceReport) -> Table:
    title = f"{report.bundle}: {counted(report.images, 'image')}, batch 1, {counted(report.machine.threads, 'thread')}"
    table = _table(title, "ms", "full", "mix", "p90", "p99", "file→label", "top-1 %", "MB")
    for each in report.contenders:
        milliseconds = (each.full.median_ms, each.mix.mean_ms, each.mix.p90_ms, each.mix.p99_ms)
        table.add_row(
            label(each),
            *(f"{value:.2f}" for value in (*milliseconds, each.end_to_end.mean_ms)),
            "–" if each.accuracy is None else f"{100 * each.accuracy:.1f}",
            "–" if each.size_bytes is None else f"{each.size_bytes / 1e6:.1f}",
        )
    return table


def _exits(contenders: tuple[ContenderFigures, ...]) -> Table:
    """For each exit its time as a share of the full pass, and the images that take it."""
    shown = [each for each in contenders if len(each.ways_out) > 1]
    names = [way.name for way in shown[0].ways_out] if shown else []
    table = _table("Leaving at each exit, % of the full pass's time (ms)", "", *names)
    if shown:
        table.add_row("MACs, counted", *(f"{100 * way.macs_share:.1f}" for way in shown[0].ways_out))
    for each in shown:
        if len(each.ways_out) == len(names):
            cells = (f"{100 * way.latency_share:.1f} ({way.latency.median_ms:.2f})" for way in each.ways_out)
            table.add_row(label(each), *cells)
            table.add_row("  images leaving there, %", *(f"{100 * share:.0f}" for share in each.exit_shares))
    return table


def _starts(report: DeviceReport) -> Table:
    table = _table("A fresh process, one image", "", "s", "peak MB", "starts")
    for each in report.cold_starts:
        name = f"{each.engine} {each.precision}"
        table.add_row(name, f"{each.seconds:.2f}", f"{each.peak_mb:.0f}", str(each.starts))
    return table


def _energy(report: DeviceReport) -> Table:
    table = _table("Energy of an image, file to label", "", "mJ", "above idle", "idle W", "kind")
    for line in _energy_lines(report):
        table.add_row(*line)
    reasons = [*([] if report.energy.figures else ["not measurable here"]), *report.energy.why_not]
    table.caption = "; ".join(reasons) or None
    return table


def _energy_lines(report: DeviceReport) -> Iterator[tuple[str, ...]]:
    for each in report.energy.figures:
        beyond, idle = ("–" if value is None else f"{value:.2f}" for value in (each.above_idle_mj, each.idle_power_w))
        yield (
            f"{each.name} {each.engine} {each.precision}, {each.meter}: {each.covers}",
            f"{each.image_mj:.2f}",
            beyond,
            idle,
            each.kind,
        )


def _table(title: str, first: str, *headings: str) -> Table:
    table = Table(title=title)
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
