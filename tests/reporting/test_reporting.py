"""Tables, pages and contact sheets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.errors import StorageError
from gfnet_dynn.reporting.contact_sheet import Tile, write_contact_sheet
from gfnet_dynn.reporting.plot import new_figure
from gfnet_dynn.reporting.table import Plotted, Table

TABLE = Table("A & B", ("class", "n"), (("<river>", "3"), ("a|b", "–")), "below")


class Result(Plotted):
    """Two of one table."""

    def tables(self) -> Sequence[Table]:
        return [TABLE, TABLE]

    def notes(self) -> Sequence[str]:
        return ["1 < 2"]

    def draw(self) -> Any:
        return new_figure(1, 1)


def test_markdown_keeps_the_cells_apart() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[2:6] == ["| class | n |", "|---|---:|", "| <river> | 3 |", "| a\\|b | – |"]


def test_html_is_escaped_and_a_notebook_shows_all() -> None:
    page = Result().to_html("x < y").decode()
    assert "<river>" not in page
    assert (page.count("&lt;river&gt;"), page.count("<h1>x &lt; y</h1>"), page.count("1 &lt; 2")) == (2, 1, 1)
    assert page.count("<svg") == 1
    shown = Result()._repr_html_()
    assert (shown.count("<table>"), shown.count("1 &lt; 2")) == (2, 1)


def test_columns_of_dashes_are_dropped() -> None:
    table = Table("", ("a", "b", "c"), (("1", "–", "–"), ("2", "–", "3")))
    assert table.without_empty_columns() == Table("", ("a", "c"), (("1", "–"), ("2", "3")))
    assert Table("", ("a", "b"), ()).without_empty_columns().headings == ("a", "b")


def test_a_sheet_has_every_image_at_its_size(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)] * 3
    tiles = [Tile(np.full((8, 8, 3), colour, np.uint8), ("one", "a long caption " * 20)) for colour in colours]
    with Image.open(write_contact_sheet(tmp_path / "sheet.png", "title", tiles)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    for colour in colours[:3]:
        assert (pixels == colour).all(axis=2).sum() == 3 * 160 * 160
    assert write_contact_sheet(tmp_path / "none.jpg", "no mistakes", []).is_file()


@pytest.mark.parametrize("name", ["sheet.gif", "sheet"])
def test_a_sheet_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match=re.escape(name)):
        write_contact_sheet(tmp_path / name, "title", [])


def test_prose_is_read_from_the_left_and_numbers_from_the_right() -> None:
    table = Table("", ("fact", "value", "n"), (("limit", "a sentence that is longer than any number", "3"),))
    assert "|---|---|---:|" in table.to_markdown()
    assert '<td style="text-align: left">a sentence' in table.to_html()
    assert "<td>3</td>" in table.to_html()
