from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy.sysfs import read_number, read_text
from gfnet_dynn.errors import MeterError


def test_values_are_read_without_the_lines_end(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("-12\n", encoding="utf-8")
    assert (read_text(file), read_number(file)) == ("-12", -12)


def test_a_forbidden_file_says_how_to_allow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    file = tmp_path / "energy_uj"
    with pytest.raises(MeterError) as caught:
        read_number(file)
    assert (
        str(caught.value)
        == f"{file} is not readable for this user: run as root, or allow it with `sudo chmod a+r {file}`"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match=r"gone cannot be read \(No such file or directory\): check"):
        read_text(tmp_path / "gone")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(MeterError, match=r"value cannot be read \(not text\)"):
        read_text(file)


@pytest.mark.parametrize("content", ["", "12.5", "many"])
def test_what_is_no_whole_number_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "value"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(MeterError, match=f"value contains '{content}'"):
        read_number(file)
