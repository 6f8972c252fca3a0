"""Records of finished units."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from gfnet_dynn.errors import BusyError, DataError, StorageError
from gfnet_dynn.geo.journal import Journal, Record, digest, open_journal, record_type

KIND = record_type(4, 3)


def record(value: int) -> Record:
    made = np.zeros((), KIND)
    made["exits"] = value
    made["unreadable"] = value
    return made


def interrupted(folder: Path, key: str, *written: int) -> list[int]:
    """Write some records and stop; returns which were there before."""
    with pytest.raises(KeyboardInterrupt), open_journal(folder, key, KIND, 9) as journal:
        before = [index for index in range(9) if journal.read(index) is not None]
        for index in written:
            journal.write(index, record(index))
        raise KeyboardInterrupt
    return before


def test_records_outlive_an_interruption(tmp_path: Path) -> None:
    folder = tmp_path / "map.tif.part"
    assert interrupted(folder, "a", 1, 5) == []
    with open_journal(folder, "a", KIND, 9) as journal:
        assert journal.resumed
        found = journal.read(5)
        assert found is not None
        assert (found == record(5)).all()
        assert journal.read(4) is None
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_key_are_discarded(tmp_path: Path) -> None:
    interrupted(tmp_path / "part", "a", 1)
    assert interrupted(tmp_path / "part", "b", 2) == []
    assert interrupted(tmp_path / "part", "b") == [2]


def test_a_record_that_was_half_written_is_not_finished(tmp_path: Path) -> None:
    interrupted(tmp_path / "part", "a", 1, 2)
    file = tmp_path / "part" / "units"
    content = bytearray(file.read_bytes())
    content[2 * (4 + KIND.itemsize) + 9] ^= 1
    file.write_bytes(bytes(content))
    assert interrupted(tmp_path / "part", "a") == [1]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    first, second = (open_journal(tmp_path / "part", "a", KIND, 1) for _ in range(2))
    with first, pytest.raises(BusyError, match="part"), second:
        pass


def test_what_can_never_work_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), open_journal(tmp_path / "part", "a", KIND, 1):
        raise DataError("no valid pixels")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def work(journal: Journal) -> None:
        journal.write(0, record(0))
        monkeypatch.setattr(os, "pwrite", full)
        journal.write(1, record(1))

    opened = open_journal(tmp_path / "part", "a", KIND, 2)
    with pytest.raises(StorageError, match=r"No space.*the same command"), opened as journal:
        work(journal)
    monkeypatch.undo()
    assert interrupted(tmp_path / "part", "a") == [0]
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="No space"), open_journal(tmp_path / "other", "a", KIND, 2):
        pass


def test_the_digest_tells_values_apart() -> None:
    assert digest(["a", 1]) != digest(["a", 2])
    assert digest({"a": float("-inf")}) == digest({"a": float("-inf")})
