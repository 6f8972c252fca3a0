"""The answers of finished units on disk, so that an interrupted map continues where it was.

One file of records of the same length, one for each unit, beside a key that says which scene, grid and network they
belong to. Each record begins with its checksum: one that a crash left half-written is not finished.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import DataError, StorageError
from gfnet_dynn.system.storage import make_folder, one_at_a_time, require_writable, to_json, write_bytes

_CHECK = 4  # bytes of a checksum

Record = npt.NDArray[Any]
"""A structured scalar array with the fields of `record_type`."""


def record_type(side: int, num_classes: int) -> np.dtype[Any]:
    """What is kept of a unit of side × side chips and cells.

    Fields: probabilities of each chip at the exit taken; that exit, 0 to G; whether it is unknown; its share of valid
    pixels; valid pixels of each cell; unreadable pixels, and column and row of the first in the scene.
    """
    square = (side, side)
    return np.dtype(
        [
            ("probabilities", "<f4", (*square, num_classes)),
            ("exits", "u1", square),
            ("unknown", "u1", square),
            ("validity", "<f4", square),
            ("valid_pixels", "<u4", square),
            ("unreadable", "<u4"),
            ("first_unreadable", "<i4", (2,)),
        ]
    )


@dataclass(frozen=True)
class Journal:
    """Records of units in an open file."""

    folder: Path
    descriptor: int
    kind: np.dtype[Any]
    resumed: bool

    def read(self, index: int) -> Record | None:
        """The record of a unit; None: it is not finished."""
        length = _CHECK + self.kind.itemsize
        content = os.pread(self.descriptor, length, index * length)
        if len(content) < length or content[:_CHECK] != _checksum(content[_CHECK:]):
            return None
        record: Record = np.frombuffer(content, self.kind, 1, _CHECK)[0]
        return record

    def write(self, index: int, record: Record) -> None:
        """Keep the record of a finished unit; raises StorageError."""
        content = record.tobytes()
        whole = _checksum(content) + content
        try:
            os.pwrite(self.descriptor, whole, index * len(whole))
        except OSError as error:
            raise _failed(self.folder, error) from error


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECK, "little")


def _failed(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write into {folder}: {error.strerror}; finished blocks are kept: free space, and run the same command "
        "again"
    )


def digest(parts: Any) -> str:
    """Identifies what a map is made from and how, of values that JSON can hold."""
    return hashlib.sha256(to_json(parts)).hexdigest()


@contextmanager
def open_journal(folder: Path, key: str, kind: np.dtype[Any], units: int) -> Iterator[Journal]:
    """The journal in a work folder, which is removed when the work is finished, and kept where it is interrupted.

    Records of another key are discarded. All of its space is taken at once, so that a full disk is found at the start.

    Raises:
        BusyError: another process makes the same map.
        StorageError: no space or no permission.
    """
    require_writable(folder.parent)
    make_folder(folder)
    with one_at_a_time(folder / "work", wait=False):
        records, known = folder / "units", folder / "key"
        resumed = known.is_file() and records.is_file() and known.read_bytes() == key.encode()
        if not resumed:
            records.unlink(missing_ok=True)
        descriptor = os.open(records, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _take_space(folder, descriptor, units * (_CHECK + kind.itemsize))
            write_bytes(known, key.encode())
            yield Journal(folder, descriptor, kind, resumed)
        except DataError:  # the same command would end in the same way
            shutil.rmtree(folder)
            raise
        finally:
            os.close(descriptor)
        shutil.rmtree(folder)


def _take_space(folder: Path, descriptor: int, length: int) -> None:
    allocate = getattr(os, "posix_fallocate", lambda descriptor, start, size: os.ftruncate(descriptor, size))
    try:
        allocate(descriptor, 0, length)
    except OSError as error:
        raise _failed(folder, error) from error
