"""Values of files as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from gfnet_dynn.errors import OptionError, RecipeError
from gfnet_dynn.system.structured import structured, structured_file


@dataclass(frozen=True)
class Inner:
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 0:
            raise OptionError(f"--count must not be negative, not {self.count}")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None = None
    share: float = 0.5
    folder: Path | None = None
    kind: Literal["a", "b"] = "a"


def test_whole_numbers_are_numbers_and_texts_are_paths() -> None:
    made = structured(Outer, {"name": "x", "inner": {"count": 2}, "share": 1, "folder": "a/b"}, "f", RecipeError)
    assert made == Outer("x", Inner(2), 1.0, Path("a/b"))
    assert isinstance(made.share, float)


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ({}, ("`name`",)),
        ([], ("`object`", "`array`")),
        ({"name": 3}, ("`str`", "`int`", "`name`")),
        ({"name": "x", "shar": 1}, ("'shar'", "did you mean 'share'")),
        ({"name": "x", "inner": {"counts": 1}}, ("inner", "'counts'", "did you mean 'count'")),
        ({"name": "x", "inner": {"count": -1}}, ("--count must not be negative, not -1",)),
        ({"name": "x", "inner": {"count": True}}, ("`int`", "`bool`")),
        ({"name": "x", "folder": ""}, ("path", "`folder`")),
        ({"name": "x", "kind": "c"}, ("'c'", "`kind`")),
    ],
)
def test_faults_name_the_place_and_the_key(value: object, facts: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as error:
        structured(Outer, value, "sets.toml: [x]", RecipeError)
    for fact in ("sets.toml: [x]", *facts):
        assert fact in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff"])
def test_files_that_are_no_json_are_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecipeError, match=r"run\.json"):
        structured_file(Outer, file, RecipeError)
    with pytest.raises(RecipeError, match="absent"):
        structured_file(Outer, tmp_path / "absent", RecipeError)
