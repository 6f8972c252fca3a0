"""Tables of a terminal: every number whole, no line beyond the width."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from gfnet_dynn.cli.terminal import print_tables
from gfnet_dynn.reporting.table import Table, Tabular

WIDTH = 80
NUMBERS = st.floats(0, 1e6, allow_nan=False).map(lambda value: f"{value:.3f}")


class Result(Tabular):
    """A table and a note."""

    def __init__(self, table: Table, note: str = "") -> None:
        self.table, self.note = table, note

    def tables(self) -> Sequence[Table]:
        return [self.table]

    def notes(self) -> Sequence[str]:
        return [self.note] if self.note else []


def printed(result: Result) -> str:
    out = io.StringIO()
    print_tables(result, Console(file=out, width=WIDTH))
    return out.getvalue()


@given(
    columns=st.integers(1, 25),
    row=st.lists(NUMBERS, min_size=25, max_size=25),
    name=st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=300),
)
def test_every_number_is_whole_and_no_line_is_too_wide(columns: int, row: list[str], name: str) -> None:
    headings = tuple(f"column {index}" for index in range(columns))
    text = printed(Result(Table("A title", headings, ((name, *row[: columns - 1]),))))
    assert all(cell_len(line) <= WIDTH for line in text.splitlines())
    assert set(row[: columns - 1]) <= set(text.split())


def test_a_table_that_is_too_wide_repeats_its_first_column() -> None:
    headings = ("network", *(f"accuracy of exit {index}" for index in range(12)))
    text = printed(Result(Table("", headings, (("lite0m", *["97.6 ± 0.3"] * 12),))))
    assert text.count("97.6 ± 0.3") == 12
    assert text.count("lite0m") == text.count("network") > 1


def test_texts_are_not_read_as_markup() -> None:
    text = printed(Result(Table("[bold]", ("[red]",), (("[/]",),)), "[link]"))
    assert all(each in text for each in ("[bold]", "[red]", "[/]", "[link]"))


@pytest.mark.parametrize("word", ["x" * 200, "/data/" + "long/" * 40])
def test_a_long_word_continues_on_the_next_line(word: str) -> None:
    text = printed(Result(Table("", ("file", "class"), ((word, "forest"),))))
    pieces = [line.split()[0] for line in text.splitlines()[2:] if line.strip()]
    assert "".join(pieces) == word
