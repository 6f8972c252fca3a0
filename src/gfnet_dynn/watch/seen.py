"""Which files are known: answered, or skipped at the start. Kept beside the log, so that the log may be rotated."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import write_bytes

_BYTES = 8  # of a key on disk


class SeenFiles:
    """Keys of files, see `frame.file_key`, in memory and in a file of 8 bytes each."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        """Read what an earlier watch left if `keep`; raises StorageError."""
        self._path = path
        self._waiting: list[int] = []
        content = self._read() if keep else None
        self.is_new = content is None
        whole = (content or b"")[: len(content or b"") // _BYTES * _BYTES]  # without a record that was cut off
        self._keys = {int.from_bytes(whole[at : at + _BYTES]) for at in range(0, len(whole), _BYTES)}
        if content != whole and content is not None:
            write_bytes(path, whole)

    def begin(self) -> None:
        """Put all keys on disk in one step, in place of those of an earlier watch; raises StorageError."""
        write_bytes(self._path, _packed(self._keys))
        self._waiting.clear()

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}; change its permissions") from error

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int) -> None:
        """Know one more; on disk from the next `save` on."""
        if key not in self._keys:
            self._keys.add(key)
            self._waiting.append(key)

    @property
    def waiting(self) -> int:
        """How many are not on disk."""
        return len(self._waiting)

    def save(self) -> None:
        """Put the new ones on disk; raises StorageError."""
        if not self._waiting:
            return
        try:
            with self._path.open("ab") as file:
                file.write(_packed(self._waiting))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):  # a part of a record would shift all that follow
                os.truncate(self._path, self._path.stat().st_size // _BYTES * _BYTES)
            raise StorageError(f"cannot write {self._path}: {error.strerror}; free space") from error
        self._waiting.clear()

    def retain(self, present: set[int]) -> None:
        """Forget all but these, in memory and on disk; raises StorageError."""
        self._keys &= present
        self._waiting = [key for key in self._waiting if key in self._keys]
        write_bytes(self._path, _packed(self._keys.difference(self._waiting)))


def _packed(keys: Iterable[int]) -> bytes:
    return b"".join(key.to_bytes(_BYTES) for key in keys)
