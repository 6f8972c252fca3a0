"""Results and progress in the terminal: no number of a table is cut, whatever the width, and names steer nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.align import Align
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table as Grid
from rich.text import Text

from gfnet_dynn.display import printable
from gfnet_dynn.reporting.table import Table, Tabular

_GAP = 2  # columns of the terminal between two columns of a table
_PROSE = 14  # a cell that is longer and has a space may wrap
_WORD = 30  # a longer word, such as a path, is continued on the next line
_HEADING = 7  # a heading of so many characters stays on one line


class Terminal(Console):
    """A console that shows control characters in names of files and classes instead of obeying them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does, of text that is safe to print."""
        return super().render_str(printable(text, keep="\n"), **options)

    def print_line(self, line: str) -> None:
        """Print one line that is not wrapped, so that names in it can be copied; a `Log`."""
        self.print(_safe(line), soft_wrap=True)

    def show(self, result: Tabular, *, files: Iterable[Path] = (), following: Iterable[str] = ()) -> None:
        """Print a result, the files that were written, and the commands to type next without the program's name."""
        print_tables(result, self)
        self.print_next(following, files)

    def print_next(self, following: Iterable[str], files: Iterable[Path] = ()) -> None:
        """As `show`, without a result."""
        for line in (*(f"written: {file}" for file in files), *(f"next: gfnet-dynn {each}" for each in following)):
            self.print_line(line)


def print_tables(result: Tabular, console: Console) -> None:
    """Print the tables of a result, then its notes.

    The width of the console is kept: texts wrap, and a table that is still too wide continues below, where its first
    column is repeated.
    """
    for table in result.tables():
        _print_table(table, console)
    for note in result.notes():
        console.print(_safe(note))


def _print_table(table: Table, console: Console) -> None:
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
    """One column of a table."""

    heading: str
    cells: Sequence[str]
    least: int  # width below which a number, or a word of a text, would be cut
    natural: int  # width at which nothing wraps
    is_prose: bool  # aligned to the left


def _column(table: Table, index: int) -> _Column:
    cells = [printable(row[index]) for row in table.rows]
    heading = table.headings[index]
    natural = cell_len(heading)
    least = max(_longest_word(heading), min(natural, _HEADING))
    for cell in cells:
        wraps = cell_len(cell) > _PROSE
        least = max(least, max(min(_longest_word(cell), _WORD), _PROSE) if wraps else cell_len(cell))
        natural = max(natural, cell_len(cell))
    return _Column(heading, cells, least, natural, table.is_prose(index))


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
        side: Literal["left", "right"] = "left" if columns[index].is_prose else "right"
        heading = Align(Text(columns[index].heading, justify=side), side, vertical="bottom")
        grid.add_column(heading, justify=side, width=column_width, overflow="fold")
    for cells in zip(*(columns[index].cells for index in chosen), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def _safe(text: str, style: str = "") -> Text:
    """Without markup, and with control characters of names escaped."""
    return Text(printable(text), style=style)


def progress_bar(console: Terminal) -> Progress:
    """A progress bar with a field `note`; hidden where the output is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(15), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class ProgressBars:
    """Shows one bar for each piece of work; an `OnProgress`."""

    def __init__(self, console: Terminal) -> None:
        self._bar = progress_bar(console)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, title: str, done: int, total: int) -> None:
        """Move the bar of one piece of work; it is removed at its end."""
        if title not in self._tasks:
            self._tasks[title] = self._bar.add_task(title, total=total, note="")
            self._bar.start()
        self._bar.update(self._tasks[title], completed=done)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(title))
            if not self._tasks:
                self._bar.stop()
