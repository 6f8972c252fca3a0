"""The log of a watch: lines are added, a line that was cut off is removed, old logs are kept by number."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import require_writable

_BEGINNING = b'{"time": '
_TAIL = 1 << 22  # bytes at the end of a log in which its last line begins


class AnswerLog:
    """A file of JSON lines that one process adds to, and that others may move away."""

    def __init__(self, path: Path, max_bytes: int | None, keep: int) -> None:
        """Open or create it.

        Args:
            path: the log.
            max_bytes: a new log is begun before it grows beyond; None: never.
            keep: older logs to keep, `PATH.1` the newest.

        Raises:
            StorageError: it cannot be written, or is another kind of file.
        """
        if path.is_dir():
            raise StorageError(f"{path} is a folder: name the log to write")
        require_writable(path.parent)
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._descriptor = self._opened()
        try:
            self._repair()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror}; choose another place or change its permissions"
            ) from error

    def _repair(self) -> None:
        """Remove the end of a line that was cut off, or zeros that a power cut left."""
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{self._path} is not a file: name the log to write")
        size = found.st_size
        tail = os.pread(self._descriptor, _TAIL, max(0, size - _TAIL))
        whole, newline, rest = tail.rpartition(b"\n")
        last = whole.rpartition(b"\n")[2]
        cut_off = rest.strip(b"\0")
        if (newline and not _is_line(last)) or not (cut_off or _BEGINNING).startswith(_BEGINNING[: len(cut_off)]):
            raise StorageError(f"{self._path} is not the log of a watch: name another file, or move it away")
        if rest:
            os.ftruncate(self._descriptor, size - len(rest))

    def write(self, line: str) -> None:
        """Add a line; raises StorageError: nothing of it is in the log."""
        content = line.encode("ascii") + b"\n"
        self._follow(len(content))
        before = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise StorageError(f"cannot write {self._path}: {error.strerror}; free space") from error

    def sync(self) -> None:
        """Wait until all lines are on disk; raises StorageError."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}; check the disk") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _follow(self, more: int) -> None:
        """Begin a new log where this one was moved away, or would grow too large."""
        found = os.fstat(self._descriptor)
        try:
            is_moved = not os.path.samestat(found, self._path.stat())
        except FileNotFoundError:
            is_moved = True
        is_full = self._max_bytes is not None and found.st_size and found.st_size + more > self._max_bytes
        if is_moved or is_full:
            self.sync()
            if not is_moved:
                self._shift()
            descriptor = self._opened()
            os.close(self._descriptor)
            self._descriptor = descriptor

    def _shift(self) -> None:
        """`LOG` → `LOG.1` → `LOG.2` …; the last one is removed."""
        logs = [self._path, *(numbered(self._path, number) for number in range(1, self._keep + 1))]
        try:
            logs[-1].unlink(missing_ok=True)
            for older, newer in zip(reversed(logs), reversed(logs[:-1]), strict=False):
                if newer.exists():
                    newer.replace(older)
        except OSError as error:
            raise StorageError(
                f"cannot rename {self._path}: {error.strerror}; change the folder's permissions"
            ) from error


def numbered(log: Path, number: int) -> Path:
    """`frames.jsonl`, 1 → `frames.jsonl.1`."""
    return log.with_name(f"{log.name}.{number}")


def read_lines(log: Path, *, whole: bool) -> Iterator[dict[str, Any]]:
    """The lines at the end of a log, or all; those that are damaged are skipped; raises StorageError."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0 if whole else max(0, size - _TAIL))
            for line in file:
                with suppress(ValueError, RecursionError):
                    if isinstance(found := json.loads(line), dict):
                        yield found
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot read {log}: {error.strerror}; change its permissions") from error


def _is_line(line: bytes) -> bool:
    """Whether a line may be one of a watch: an object with a source."""
    try:
        found = json.loads(line.strip(b"\0"))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "source" in found
