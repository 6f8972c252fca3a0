from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy.external import read_log
from gfnet_dynn.errors import MeterError


def log(tmp_path: Path, text: str) -> list[tuple[float, float]]:
    path = tmp_path / "power.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_log(path)


@pytest.mark.parametrize(
    "text",
    [
        "time_s,power_w\n10,2.5\n11.5,3\n",
        "\ufefftime_s,power_w\r\n10,2.5\r\n11.5,3\r\n",
        ' Power_W , note , TIME_S \n2.5,"warm",10\n\n3,,11.5\n',
        '"time_s";"power_w"\n10;2,5\n11,5;3\n',
        "time_s;power_w\n10.0;2.5\n11.5;3e0\n",
    ],
)
def test_the_usual_ways_to_write_a_table_are_understood(tmp_path: Path, text: str) -> None:
    assert log(tmp_path, text) == [(10.0, 2.5), (11.5, 3.0)]


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    assert log(tmp_path, "time_s,power_w\n10,2\n11,12") == [(10.0, 2.0)]


def test_a_log_may_have_only_begun(tmp_path: Path) -> None:
    assert log(tmp_path, "time_s,power_w\n") == []


def test_two_samples_at_one_time_are_no_step_back(tmp_path: Path) -> None:
    assert len(log(tmp_path, "time_s,power_w\n10,2\n10,3\n")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: needs one column time_s, found none"),
        ("time_s,power_w", "line 1: needs one column time_s, found none"),
        ("time_s,watts\n", "line 1: needs one column power_w, found time_s, watts; name the columns"),
        ("time_s,time_s,power_w\n", "line 1: needs one column time_s"),
        ("time_s,power_w\n10,2\n11,many\n", "line 3: 'many'"),
        ("time_s,power_w\n10,\n", "line 2: ''"),
        ("time_s,power_w\n10,nan\n", "line 2: 'nan'"),
        ("time_s,power_w\n2026-01-01T00:00:00,5\n", "line 2: '2026-01-01T00:00:00'"),
        ("time_s;power_w\n10;1.234,5\n", "line 2: '1.234.5'"),
        ("time_s,power_w\n10,2,5\n", "line 2: 3 columns where line 1 names 2; with decimal commas"),
        ("time_s,power_w\n10\n", "line 2: 1 column where line 1 names 2"),
        ("time_s,power_w\n10,1\n12,1\n11.5,1\n", r"line 4: time goes back from 12\.000 s to 11\.500 s"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MeterError, match=rf"power\.csv, {message}"):
        log(tmp_path, text)


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match=r"cannot read the meter's log .*gone\.csv \(No such file"):
        read_log(tmp_path / "gone.csv")


def test_a_log_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "power.csv"
    path.write_bytes("time_s,power_w\n".encode("utf-16"))
    with pytest.raises(MeterError, match="UTF-8"):
        read_log(path)
