"""Which files of a folder are complete and new."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gfnet_dynn.errors import DataError
from gfnet_dynn.watch import folder as module
from gfnet_dynn.watch.folder import FolderSource
from gfnet_dynn.watch.frame import FileStamp, Frame, file_key
from gfnet_dynn.watch.seen import SeenFiles


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def seen(tmp_path: Path) -> SeenFiles:
    return SeenFiles(tmp_path / "seen", keep=False)


Watched = Callable[..., FolderSource]


@pytest.fixture
def watched(tmp_path: Path, seen: SeenFiles, notes: list[str], clock: Clock) -> Watched:
    (tmp_path / "in").mkdir()
    return lambda settle_s=2.0: FolderSource(tmp_path / "in", settle_s, seen, notes.append, clock)


def names(frames: object) -> list[str]:
    assert isinstance(frames, list | tuple)
    return [each.source.name for each in frames]


def know(seen: SeenFiles, frame: Frame) -> None:
    assert frame.stamp is not None
    seen.add(file_key(str(frame.source), frame.stamp))


def test_a_file_that_grows_is_not_ready_before_it_stands_still(tmp_path: Path, watched: Watched, clock: Clock) -> None:
    source, file = watched(), tmp_path / "in" / "a.png"
    for size in (10, 20, 30):
        file.write_bytes(b"x" * size)
        assert names(source.look()) == []
        clock.now += 1.9
    file.write_bytes(b"x" * 40)
    assert names(source.look()) == []
    clock.now += 1.9
    assert names(source.look()) == []
    clock.now += 0.2
    assert names(source.look()) == ["a.png"]


def test_a_file_that_stood_still_before_it_was_renamed_into_place_is_ready_at_once(
    tmp_path: Path, watched: Watched
) -> None:
    source = watched()
    beside, file = tmp_path / "beside.png", tmp_path / "in" / "moved.png"
    beside.write_bytes(b"x")
    long_ago = beside.stat().st_mtime - 60
    os.utime(beside, (long_ago, long_ago))
    beside.rename(file)
    assert names(source.look()) == ["moved.png"]


def test_without_a_time_to_settle_files_are_ready_at_first_sight(tmp_path: Path, watched: Watched) -> None:
    source = watched(0.0)
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    assert names(source.look()) == ["a.png"]


def test_what_is_no_image_hidden_or_temporary_is_never_ready(tmp_path: Path, watched: Watched) -> None:
    source, root = watched(0.0), tmp_path / "in"
    for name in (".hidden.png", "a.png.part", "b.tmp", "c.txt", ".folder/d.png", "folder/e.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    os.mkfifo(root / "pipe.png")
    (root / "broken.png").symlink_to("nowhere")
    assert names(source.look()) == ["e.png"]


def test_known_files_do_not_come_again_until_they_are_written_again(
    tmp_path: Path, watched: Watched, seen: SeenFiles
) -> None:
    source, file = watched(0.0), tmp_path / "in" / "latest.png"
    file.write_bytes(b"x")
    [frame] = source.look()
    assert source.is_current(frame)
    know(seen, frame)
    assert names(source.look()) == []
    file.write_bytes(b"xx")
    assert not source.is_current(frame)
    assert names(source.look()) == ["latest.png"]


def test_the_oldest_comes_first(tmp_path: Path, watched: Watched) -> None:
    source = watched(0.0)
    for name, age in (("a.png", 10), ("b.png", 30), ("c.png", 20)):
        file = tmp_path / "in" / name
        file.write_bytes(b"x")
        os.utime(file, (1e9 - age, 1e9 - age))
    assert names(source.look()) == ["b.png", "c.png", "a.png"]


def test_files_that_are_there_may_be_skipped(tmp_path: Path, watched: Watched) -> None:
    (source, root) = watched(0.0), tmp_path / "in"
    (root / "old.png").write_bytes(b"x")
    assert source.skip_present() == 1
    (root / "new.png").write_bytes(b"x")
    assert names(source.look()) == ["new.png"]


def test_a_folder_that_vanishes_is_noted_once_and_waited_for(
    tmp_path: Path, watched: Watched, notes: list[str]
) -> None:
    source, root = watched(0.0), tmp_path / "in"
    shutil.rmtree(root)
    assert [names(source.look()) for _ in range(3)] == [[], [], []]
    assert len(notes) == 1
    assert "is away (No such file or directory)" in notes[0]
    root.mkdir()
    (root / "a.png").write_bytes(b"x")
    assert names(source.look()) == ["a.png"]
    assert len(notes) == 2
    assert "is back" in notes[1]


def test_a_missing_folder_is_refused(tmp_path: Path, seen: SeenFiles, notes: list[str]) -> None:
    with pytest.raises(DataError, match="No such file or directory"):
        FolderSource(tmp_path / "absent", 2.0, seen, notes.append)


def test_no_more_than_some_files_wait_at_once_and_all_come(
    tmp_path: Path, watched: Watched, seen: SeenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    source, all_names = watched(0.0), [f"{number}.png" for number in range(8)]
    for name in all_names:
        (tmp_path / "in" / name).write_bytes(b"x")
    found: list[str] = []
    for expected in (3, 3, 2):
        frames = source.look()
        assert len(frames) == expected
        found += names(frames)
        for frame in frames:
            know(seen, frame)
    assert not source.has_more
    assert sorted(found) == all_names


def test_files_that_are_gone_are_forgotten_where_they_are_many(
    tmp_path: Path, watched: Watched, seen: SeenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SPARE_KEYS", 3)
    source, file = watched(0.0), tmp_path / "in" / "stays.png"
    file.write_bytes(b"x")
    assert source.skip_present() == 1
    for number in range(4):
        seen.add(number)
    source.look()
    assert len(seen) == 5
    seen.add(4)
    source.look()
    assert len(seen) == 1
    assert file_key(str(file), FileStamp.of(file.stat())) in seen
