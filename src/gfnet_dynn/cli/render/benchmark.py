"""Tables of a device benchmark in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from gfnet_dynn.benchmark.report import DeviceReport, Table, sources, tables


def print_device_benchmark(report: DeviceReport, console: Console) -> None:
    """Print all figures, and how they came about."""
    for table in tables(report):
        console.print(_shown(table))
    for line in sources(report):
        console.print(line, markup=False, highlight=False)


def _shown(table: Table) -> Shown:
    """Names of files and meters are texts: whatever brackets they have mean nothing."""
    shown = Shown(title=Text(table.title), caption=Text(table.caption) if table.caption else None)
    for index, heading in enumerate(table.headings):
        shown.add_column(Text(heading), overflow="fold", justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown
