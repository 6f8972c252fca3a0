from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import (
    json_line,
    make_folder,
    move_aside,
    one_at_a_time,
    require_writable,
    to_json,
    write_bytes,
    write_json,
)

_FULL_DISK_CHILD = """
import resource, sys
from pathlib import Path
from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import write_bytes

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_bytes(Path(sys.argv[1]), b"n" * 100_000)
except StorageError as error:
    print(error)
    sys.exit(7)
"""


def write_on_a_full_disk(path: Path) -> str:
    """What `write_bytes` says in a process in which no file may grow beyond 4 kB."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK_CHILD, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 7, done.stderr
    return done.stdout


def test_a_full_disk_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    old = bytes(range(256)) * 20
    path.write_bytes(old)
    said = write_on_a_full_disk(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    assert str(path) in said
    assert "0.1 MB" in said
    assert "the previous file is intact" in said


def test_a_full_disk_leaves_no_new_file(tmp_path: Path) -> None:
    said = write_on_a_full_disk(tmp_path / "model.bin")
    assert list(tmp_path.iterdir()) == []
    assert "nothing was written" in said


def test_bytes_arrive_whole_and_replace_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    assert write_bytes(path, b"one" * 9) == path
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_readers_of_the_old_file_keep_it(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "file.bin", b"old")
    with path.open("rb") as reader:
        write_bytes(path, b"new")
        assert reader.read() == b"old"


def test_a_folder_in_the_place_of_the_file_is_kept(tmp_path: Path) -> None:
    target = make_folder(tmp_path / "taken")
    with pytest.raises(StorageError, match=r"cannot save .*taken"):
        write_bytes(target, b"x")
    assert list(tmp_path.iterdir()) == [target]
    assert target.is_dir()


def test_json_is_utf8_indented_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = write_json(tmp_path / "value.json", {"τ": [1, 2.5], "ok": None})
    assert path.read_text(encoding="utf-8").startswith('{\n  "τ": [\n')
    assert path.read_bytes().endswith(b"}\n")
    assert json.loads(path.read_bytes()) == {"τ": [1, 2.5], "ok": None}


@pytest.mark.parametrize("write", [to_json, json_line])
def test_what_is_no_number_is_null(write: Callable[[object], str | bytes]) -> None:
    value = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5)], "c": {"τ": None}, "d": True, "e": 10**30}
    assert json.loads(write(value), parse_constant=pytest.fail) == {
        **value,
        "a": None,
        "b": [None, [None, 1.5]],
    }


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    path = write_json(tmp_path / "value.json", {"a": np.float64(0.1), "b": np.int64(3), "c": [np.float32("nan")]})
    assert json.loads(path.read_bytes()) == {"a": 0.1, "b": 3, "c": [None]}


def test_a_line_of_json_is_ascii_whatever_the_names() -> None:
    line = json_line({"source": "\udcff\u202e\nτ.png"})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"source": "\udcff\u202e\nτ.png"}


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "value.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_bytes()) == {"old": 1}


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == folder
    assert make_folder(folder).is_dir()


@pytest.mark.parametrize("below", ["file", "file/below/it"])
def test_no_folder_can_be_made_below_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot create the folder .*; choose another place"):
        make_folder(tmp_path / below)


@pytest.mark.parametrize("write", [require_writable, lambda folder: write_bytes(folder / "x", b"x")])
def test_writing_below_a_file_is_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot create the folder"):
        write(tmp_path / "file" / "runs")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even root cannot write into")
def test_a_folder_that_takes_no_files_is_found_before_the_work() -> None:
    with pytest.raises(StorageError, match=r"cannot write into /proc/self: .*; choose another folder"):
        require_writable(Path("/proc/self"))


def test_a_writable_folder_is_left_empty(tmp_path: Path) -> None:
    assert require_writable(tmp_path / "runs") == tmp_path / "runs"
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_is_moved_to_the_first_free_number(tmp_path: Path) -> None:
    run = tmp_path / "run"
    moved = []
    for content in ("first", "second", "third"):
        write_bytes(run / "log", content.encode())
        moved.append(move_aside(run))
        assert not run.exists()
    assert moved == [tmp_path / ".previous" / f"run-{number}" for number in (1, 2, 3)]
    assert [(tmp_path / ".previous" / f"run-{n}" / "log").read_text() for n in (1, 2, 3)] == [
        "first",
        "second",
        "third",
    ]


def test_a_gap_in_the_numbers_is_filled(tmp_path: Path) -> None:
    make_folder(tmp_path / ".previous" / "run-2")
    make_folder(tmp_path / "run")
    assert move_aside(tmp_path / "run") == tmp_path / ".previous" / "run-1"


def test_nothing_is_moved_where_nothing_is(tmp_path: Path) -> None:
    assert move_aside(tmp_path / "run") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_moved_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_folder(tmp_path / "run")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match=r"cannot move .*run aside: Permission denied; move it by hand"):
        move_aside(run)
    assert run.is_dir()


_WAITING_CHILD = """
import sys
from pathlib import Path
from gfnet_dynn.system.storage import one_at_a_time

print("wants in", flush=True)
with one_at_a_time(Path(sys.argv[1])):
    print("is in", flush=True)
"""


def test_others_wait_until_the_one_inside_has_left(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WAITING_CHILD, str(tmp_path / "work")]
    folder = tmp_path / "work"
    folder.mkdir()
    with one_at_a_time(folder):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "wants in\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
    assert child.communicate(timeout=30)[0] == "is in\n"
    assert list(folder.iterdir()) == []


def test_whoever_does_not_wait_is_told(tmp_path: Path) -> None:
    with (
        one_at_a_time(tmp_path / "work"),
        pytest.raises(StorageError, match=r"another process works in .*work"),
        one_at_a_time(tmp_path / "work", wait=False),
    ):
        pass
    with one_at_a_time(tmp_path / "work", wait=False):
        pass
