"""Several processes that write one file at once, some of them killed."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import locked, write_bytes

_WRITER = """
import hashlib, sys
from pathlib import Path
from gfnet_dynn.system.storage import write_bytes

for line in sys.stdin:
    body = (sys.argv[2] + line).encode() * 60_000
    write_bytes(Path(sys.argv[1]), hashlib.sha256(body).digest() + body)
    print("written", flush=True)
"""

_READER = """
import hashlib, sys, threading
from pathlib import Path

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
reads = torn = 0
while not ended.is_set():
    content = Path(sys.argv[1]).read_bytes()
    reads, torn = reads + 1, torn + (hashlib.sha256(content[32:]).digest() != content[:32])
print(reads, torn)
"""


def started(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def answered(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def whole(path: Path) -> bool:
    content = path.read_bytes()
    return hashlib.sha256(content[32:]).digest() == content[:32]


def write_many(path: Path, name: str, writes: int, kills: int, ends: Counter[str]) -> None:
    """Let a process write `path` many times, and kill it at some of them."""
    generator = random.Random(name)
    killed = set(generator.sample(range(writes), kills))
    writer = started(_WRITER, path, name)
    for number in range(writes):
        asked(writer, str(number))
        if number not in killed:
            ends[answered(writer)] += 1
            continue
        time.sleep(generator.uniform(0, 0.004))
        writer.kill()
        writer.communicate()
        ends["killed"] += 1
        ends["broken"] += not whole(path)
        writer = started(_WRITER, path, name)
    writer.communicate()


@pytest.mark.parametrize(
    ("writes", "kills"), [(20, 3), pytest.param(250, 20, marks=pytest.mark.release)], ids=["short", "long"]
)
def test_two_writers_and_a_reader_never_meet_a_part(tmp_path: Path, writes: int, kills: int) -> None:
    path = tmp_path / "file.bin"
    body = b"first"
    write_bytes(path, hashlib.sha256(body).digest() + body)
    reader, ends = started(_READER, path), Counter[str]()
    threads = [threading.Thread(target=write_many, args=(path, name, writes, kills, ends)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reads, torn = map(int, reader.communicate()[0].split())
    assert (ends["written"], ends["killed"], ends["broken"]) == (2 * (writes - kills), 2 * kills, 0)
    assert reads > 0
    assert torn == 0
    write_bytes(path, b"last")
    assert [each.name for each in tmp_path.iterdir()] == ["file.bin"]


_KILLED = """
import os, sys
from pathlib import Path
from gfnet_dynn.system import storage

storage.os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
storage.write_bytes(Path(sys.argv[1]), b"unfinished")
"""


def test_what_a_killed_writer_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "file.bin", b"old")
    other = tmp_path / ".file.bin.txt.part"
    other.write_bytes(b"of the user")
    for _ in range(3):
        started(_KILLED, path).communicate()
    assert path.read_bytes() == b"old"
    assert sum(each.name.endswith(".part") for each in tmp_path.iterdir()) == 2  # the last one's, and the user's
    write_bytes(path, b"new")
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_the_temporary_file_of_a_writer_at_work_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, inner, fsync = tmp_path / "file.bin", list[Path](), os.fsync

    def meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        if not inner:
            inner.append(path)
            write_bytes(path, b"by another")

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_bytes(path, b"the last to finish")
    assert inner
    assert path.read_bytes() == b"the last to finish"
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_replaced_and_not_written_through(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_bytes(b"mine")
    path = tmp_path / "shared" / "file.bin"
    path.parent.mkdir()
    for name in (path, path.with_name(".file.bin.part"), path.with_name(".file.bin.0.part")):
        name.symlink_to(treasure)
    write_bytes(path, b"new")
    assert treasure.read_bytes() == b"mine"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_new_file_has_the_users_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        assert write_bytes(tmp_path / "file.bin", b"x").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(mask)


def test_a_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    assert write_bytes(tmp_path / ("n" * 255), b"x").read_bytes() == b"x"


_ADDER = """
import sys, time
from pathlib import Path
from gfnet_dynn.system.storage import locked, write_bytes

path = Path(sys.argv[1])
for line in sys.stdin:
    with locked(path):
        number = int(path.read_text())
        time.sleep(0.002)
        write_bytes(path, str(number + 1).encode())
"""


def test_a_locked_file_is_changed_by_one_process_at_a_time_though_it_is_replaced(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "number", b"0")
    adders = [started(_ADDER, path) for _ in range(3)]
    for adder in adders:
        asked(adder, "\n" * 19)
    for adder in adders:
        adder.communicate()
        assert adder.returncode == 0
    assert path.read_text() == "60"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot lock .*absent"), locked(tmp_path / "absent"):
        pass
