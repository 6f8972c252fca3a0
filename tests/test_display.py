from __future__ import annotations

import os
from pathlib import Path

import pytest

from gfnet_dynn.display import printable, spreadsheet_cell


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("scene 1/Zürich ★.png", "scene 1/Zürich ★.png"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\n\tb\0\x7f", r"a\r\n\tb\x00\x7f"),
        ("a\x9bb", r"a\x9bb"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("\u2066\u2069\u200f\u061c", r"\u2066\u2069\u200f\u061c"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("\ud800", r"\ud800"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        (r"C:\new", r"C:\new"),
        ("👩‍🌾", "👩‍🌾"),
    ],
)
def test_control_characters_are_escaped_and_others_stay(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(Path(name)) == shown or "\0" in name


def test_some_can_be_kept() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_a_cell_is_no_formula(name: str) -> None:
    assert spreadsheet_cell(name) == f"'{name}"
    assert spreadsheet_cell(f"x{name}") == f"x{name}"
