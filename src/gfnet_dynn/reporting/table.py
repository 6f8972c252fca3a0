"""Tables of texts, for the terminal, Markdown, notebooks, and as an HTML page that fetches nothing when opened."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gfnet_dynn.reporting.plot import save_figure, to_svg

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; line-height: 1.4 }}
table {{ border-collapse: collapse }} svg, img {{ max-width: 100%; height: auto }}
td, th {{ border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


_PROSE = 30  # a cell with more characters is read, not compared


@dataclass(frozen=True)
class Table:
    """Title (may be empty), headings, rows of as many cells each, and a caption: how the numbers came about.

    The first column and those of prose are aligned to the left, the others to the right.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def without_empty_columns(self) -> Table:
        """The same without columns in which every cell is `–`."""
        kept = [
            index for index in range(len(self.headings)) if not self.rows or {row[index] for row in self.rows} != {"–"}
        ]
        rows = tuple(tuple(row[index] for index in kept) for row in self.rows)
        return replace(self, headings=tuple(self.headings[index] for index in kept), rows=rows)

    def is_prose(self, index: int) -> bool:
        """Whether a column is read from the left: the first one, and those with a long cell."""
        return index == 0 or any(len(row[index]) > _PROSE for row in self.rows)

    def to_markdown(self) -> str:
        """A section with a GitHub-flavoured table."""
        rule = "|".join("---" if self.is_prose(index) else "---:" for index in range(len(self.headings)))
        lines = [f"## {self.title}", ""] if self.title else []
        lines += [_markdown_row(self.headings), f"|{rule}|", *map(_markdown_row, self.rows)]
        return "\n".join([*lines, *(["", self.caption] if self.caption else []), ""])

    def to_html(self) -> str:
        """A heading, the table and its caption; all texts are escaped."""
        prose = [self.is_prose(index) for index in range(len(self.headings))]
        rows = [_html_row(self.headings, "th", prose), *(_html_row(row, "td", prose) for row in self.rows)]
        title = f"<h2>{html.escape(self.title)}</h2>" if self.title else ""
        caption = f"<p>{html.escape(self.caption)}</p>" if self.caption else ""
        return f"{title}<table>{''.join(rows)}</table>{caption}"


class Tabular(ABC):
    """A result that is shown as tables: in the terminal by the command line, in a notebook by itself."""

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """The figures, in the order in which they are to be read."""

    def notes(self) -> Sequence[str]:
        """How the numbers came about, and what to mind: a sentence each."""
        return ()

    def to_markdown(self) -> str:
        """All tables, then the notes."""
        notes = [f"- {note}" for note in self.notes()]
        return "\n".join([*(table.to_markdown() for table in self.tables()), *notes, ""])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return "\n".join([*(table.to_html() for table in self.tables()), self._notes_html()])

    def _notes_html(self) -> str:
        items = "".join(f"<li>{html.escape(note)}</li>\n" for note in self.notes())
        return f"<ul>{items}</ul>" if items else ""


class Plotted(Tabular):
    """A result that is also drawn; all this raises MissingExtraError without matplotlib."""

    @abstractmethod
    def draw(self) -> Any:
        """Its main figure, of matplotlib."""

    def plot(self, path: Path) -> Path:
        """Write the figure in the format of the suffix; raises StorageError for an unknown one or a failed write."""
        return save_figure(self.draw(), path)

    def to_html(self, title: str) -> bytes:
        """A page in UTF-8 with the tables, the figure as SVG and the notes below a heading; texts are escaped."""
        parts = [*(table.to_html() for table in self.tables()), to_svg(self.draw()), self._notes_html()]
        return _PAGE.format(title=html.escape(title), body="\n".join(parts)).encode(errors="replace")


def number(value: float | None, digits: int = 2) -> str:
    """`0.50`, or `–` for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _html_row(cells: Sequence[str], tag: str, prose: Sequence[bool]) -> str:
    # The page's own style aligns the first column.
    starts = [f'<{tag} style="text-align: left">' if left and at else f"<{tag}>" for at, left in enumerate(prose)]
    row = "".join(f"{start}{html.escape(cell)}</{tag}>" for start, cell in zip(starts, cells, strict=True))
    return f"<tr>{row}</tr>\n"
