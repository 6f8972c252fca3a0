"""The log and the known files: cut off lines, rotation, restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfnet_dynn.errors import BusyError, DataError, StorageError
from gfnet_dynn.runtime.prediction import Prediction, Unreadable
from gfnet_dynn.watch.answer_log import AnswerLog
from gfnet_dynn.watch.frame import FileStamp, Frame, file_key
from gfnet_dynn.watch.journal import open_journal
from gfnet_dynn.watch.request import WatchRequest
from gfnet_dynn.watch.seen import SeenFiles

LINE = '{"time": "2026-01-01T00:00:00.000Z", "source": "/in/a.png", "label": "field"}'


def frame(name: str, size: int = 7) -> tuple[Frame, Prediction]:
    path = Path(f"/in/{name}")
    made = Prediction(path, "field", 0.9, "exit 1", 1, {"field": 0.9, "river": 0.1}, "gates", "0", "fp32")
    return Frame(path, path, FileStamp(size, 11)), made


def key(name: str, size: int = 7) -> int:
    return file_key(f"/in/{name}", FileStamp(size, 11))


def request(log: Path, *, resume: bool = True, **more: object) -> WatchRequest:
    return WatchRequest(bundle=Path("tiny.gfd"), source="/in", output=log, resume=resume, **more)  # type: ignore[arg-type]


def sources(log: Path) -> list[str]:
    return [json.loads(line)["source"] for line in log.read_text(encoding="ascii").splitlines()]


def test_a_line_has_time_size_and_the_keys_of_a_prediction(tmp_path: Path) -> None:
    taken, made = frame("caf\udce9.png")
    log = tmp_path / "log.jsonl"
    with open_journal(request(log)) as journal:
        journal.write(taken, made)
        journal.write(taken, Unreadable(taken.source, DataError("it is damaged")))
    first, second = map(json.loads, log.read_text(encoding="ascii").splitlines())
    assert {name: first[name] for name in first if name != "time"} == {
        **made.to_dict(1),
        "bytes": 7,
        "modified_ns": 11,
    }
    assert (second["source"], second["error"]) == ("/in/caf\udce9.png", "it is damaged")
    assert first["time"].endswith("Z")


def test_after_a_restart_the_same_files_are_known(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with open_journal(request(log)) as journal:
        assert not journal.is_continued
        journal.begin()
        journal.write(*frame("a.png"))
    with open_journal(request(log)) as journal:
        assert journal.is_continued
        assert key("a.png") in journal.seen
        assert key("a.png", size=8) not in journal.seen
    with open_journal(request(log, resume=False)) as journal:
        assert not journal.is_continued
        assert key("a.png") not in journal.seen
    assert sources(log) == ["/in/a.png"]


def test_lines_whose_files_were_not_yet_saved_as_known_are_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with open_journal(request(log)) as journal:
        journal.begin()
        journal.write(*frame("a.png"))
        assert (tmp_path / "log.jsonl.seen").stat().st_size == 0  # as a killed process leaves it
        with log.open("ab") as other:
            other.write(b'{"time": "2026-')
        log_before, seen_before = log.read_bytes(), b"\0\0\0"  # a record that was cut off
    log.write_bytes(log_before)
    (tmp_path / "log.jsonl.seen").write_bytes(seen_before)
    with open_journal(request(log)) as journal:
        assert key("a.png") in journal.seen
        journal.write(*frame("b.png"))
    assert sources(log) == ["/in/a.png", "/in/b.png"]
    assert (tmp_path / "log.jsonl.seen").stat().st_size == 16


def test_a_log_without_its_known_files_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with open_journal(request(log)) as journal:
        for number in range(50):
            journal.write(*frame(f"{number}.png"))
    (tmp_path / "log.jsonl.seen").unlink()
    with open_journal(request(log)) as journal:
        assert journal.is_continued
        assert all(key(f"{number}.png") in journal.seen for number in range(50))


@pytest.mark.parametrize("rest", ['{"ti', '{"time": "2026-01-01T', "\0\0\0\0", '{"time": "20\0\0\0', LINE])
def test_a_line_that_was_cut_off_is_removed(tmp_path: Path, rest: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"{LINE}\n{rest}", encoding="ascii")
    made = AnswerLog(log, None, 5)
    made.write(LINE)
    made.close()
    assert log.read_text(encoding="ascii") == f"{LINE}\n{LINE}\n"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\nabc", b"text\n", b"[1]\n", b'{"a": 1}\n', b"no newline"])
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "photo.png"
    log.write_bytes(content)
    with pytest.raises(StorageError, match="is not the log of a watch"):
        AnswerLog(log, None, 5)
    assert log.read_bytes() == content


@pytest.mark.parametrize("place", ["folder", "/dev/null", "/proc/nothing/log.jsonl"])
def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        StorageError, match=r"name the log to write|cannot create the folder|is not a file|cannot write"
    ):
        AnswerLog(tmp_path / place, None, 5)


def test_a_log_that_would_grow_too_large_is_begun_anew_and_some_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    made = AnswerLog(log, 2 * len(LINE) + 2, 2)
    for number in range(9):
        made.write(LINE.replace("a.png", f"{number}.png"))
    made.close()
    assert sources(log) == ["/in/8.png"]
    assert sources(tmp_path / "log.jsonl.1") == ["/in/6.png", "/in/7.png"]
    assert sources(tmp_path / "log.jsonl.2") == ["/in/4.png", "/in/5.png"]
    assert not (tmp_path / "log.jsonl.3").exists()


def test_no_older_log_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    made = AnswerLog(tmp_path / "log.jsonl", 1, 0)
    made.write(LINE)
    made.write(LINE)
    made.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert len(sources(tmp_path / "log.jsonl")) == 1


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    made = AnswerLog(log, None, 5)
    made.write(LINE)
    log.rename(tmp_path / "moved")
    made.write(LINE)
    made.write(LINE)
    made.close()
    assert (len(sources(tmp_path / "moved")), len(sources(log))) == (1, 2)


def test_files_stay_known_when_the_logs_are_gone(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with open_journal(request(log, max_log_size=1, keep_logs=0)) as journal:
        for name in ("a.png", "b.png", "c.png"):
            journal.write(*frame(name))
    assert sources(log) == ["/in/c.png"]
    with open_journal(request(log)) as journal:
        assert key("a.png") in journal.seen


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    wanted = request(tmp_path / "log.jsonl")
    with open_journal(wanted), pytest.raises(BusyError, match="another process"), open_journal(wanted):
        pass


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = AnswerLog(tmp_path / "log.jsonl", None, 5)
    made.write(LINE)
    import os  # noqa: PLC0415

    write, calls = os.write, []

    def full(descriptor: int, content: bytes) -> int:
        calls.append(content)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:9])

    monkeypatch.setattr("os.write", full)
    with pytest.raises(StorageError, match="No space left on device; free space"):
        made.write(LINE)
    made.close()
    assert (tmp_path / "log.jsonl").read_text(encoding="ascii") == f"{LINE}\n"


def test_the_known_files_hold_no_more_after_forgetting(tmp_path: Path) -> None:
    seen = SeenFiles(tmp_path / "seen", keep=True)
    assert seen.is_new
    for number in range(10):
        seen.add(number)
    seen.save()
    seen.add(10)
    seen.retain({3, 10})
    assert (tmp_path / "seen").stat().st_size == 8  # 10 waits for its line
    seen.save()
    again = SeenFiles(tmp_path / "seen", keep=True)
    assert [number for number in range(12) if number in again] == [3, 10]
