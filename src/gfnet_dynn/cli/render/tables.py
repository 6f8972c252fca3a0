"""Tables of a result in the terminal: no number is cut, whatever the width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.align import Align
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gfnet_dynn.display import printable
from gfnet_dynn.reporting.table import Table, Tabular

_GAP = 2  # columns of the terminal between two columns of a table
_PROSE = 14  # a cell that is longer and has a space may wrap
_WORD = 30  # a longer word, such as a path, is continued on the next line
_HEADING = 7  # a heading of so many characters stays on one line


def print_tables(result: Tabular, console: Console) -> None:
    """Print the tables of a result, then its notes.

    Args:
        result: of a workflow.
        console: its width is kept: texts wrap, and a table that is still too wide continues below,
            where its first column is repeated.
    """
    for table in result.tables():
        print_table(table, console)
    for note in result.notes():
        console.print(_safe(note))


def print_table(table: Table, console: Console) -> None:
    """Print one table; see `print_tables`."""
    if table.title:
        console.print(_safe(table.title, "bold"))
    columns = [_column(table, index) for index in range(len(table.headings))]
    for chosen in _parts(columns, console.width):
        console.print(_grid(columns, chosen, console.width))
        console.print()
    if table.caption:
        console.print(_safe(table.caption, "dim"))
        console.print()


@dataclass(frozen=True)
class _Column:
    """One column of a table.

    Attributes:
        heading: first line.
        cells: below it.
        least: width below which a number, or a word of a text, would be cut.
        natural: width at which nothing wraps.
    """

    heading: str
    cells: Sequence[str]
    least: int
    natural: int


def _column(table: Table, index: int) -> _Column:
    cells = [printable(row[index]) for row in table.rows]
    heading, natural = table.headings[index], cell_len(table.headings[index])
    least = max(_longest_word(heading), min(natural, _HEADING))
    for cell in cells:
        wraps = cell_len(cell) > _PROSE
        least = max(least, max(min(_longest_word(cell), _WORD), _PROSE) if wraps else cell_len(cell))
        natural = max(natural, cell_len(cell))
    return _Column(table.headings[index], cells, least, natural)


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)


def _parts(columns: Sequence[_Column], width: int) -> Iterator[list[int]]:
    """Indices of the columns that stand side by side; the first column stands in every part."""
    first, *rest = range(len(columns))
    part, used = [first], columns[first].least
    for index in rest:
        needed = _GAP + columns[index].least
        if len(part) > 1 and used + needed > width:
            yield part
            part, used = [first], columns[first].least
        part.append(index)
        used += needed
    yield part


def _grid(columns: Sequence[_Column], chosen: Sequence[int], width: int) -> Grid:
    """The chosen columns; what is left of the width goes to the texts that wrap, from the left."""
    widths = [columns[index].least for index in chosen]
    spare = width - sum(widths) - _GAP * (len(chosen) - 1)
    for position, index in enumerate(chosen):
        more = max(0, min(spare, columns[index].natural - widths[position]))
        widths[position], spare = widths[position] + more, spare - more
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for index, column_width in zip(chosen, widths, strict=True):
        side: Literal["left", "right"] = "right" if index else "left"
        heading = Align(Text(columns[index].heading, justify=side), side, vertical="bottom")
        grid.add_column(heading, justify=side, width=column_width, overflow="fold")
    for cells in zip(*(columns[index].cells for index in chosen), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def print_files(files: Iterable[Path], console: Console) -> None:
    """Name the files that were written; long names are not wrapped, so that they can be copied."""
    for file in files:
        console.print(_safe(f"written: {file}"), soft_wrap=True)


def print_next(console: Console, *commands: str) -> None:
    """Print the commands to type next, one a line, without the name of the program."""
    for command in commands:
        console.print(_safe(f"next: gfnet-dynn {command}"), soft_wrap=True)


def _safe(text: str, style: str = "") -> Text:
    """Without markup, and with control characters of names escaped."""
    return Text(printable(text), style=style)
