"""Writing files so that a failure leaves the old file as it was."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gfnet_dynn.errors import BusyError, StorageError


def make_folder(folder: Path) -> Path:
    """Create `folder` with its parents.

    Raises:
        StorageError: it cannot be created, or a file stands in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the folder {folder}: {error.strerror}; choose another place") from error
    return folder


def require_writable(folder: Path) -> Path:
    """Create `folder` and prove, by writing one byte, that files can be put there.

    Called before long work, so that a read-only place is found in the first second and not after the first epoch.

    Raises:
        StorageError: nothing can be written there.
    """
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise StorageError(
            f"cannot write into {folder}: {error.strerror}; choose another folder or change its permissions"
        ) from error
    return folder


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` in one step: readers see the old file or the new one, never a part.

    Raises:
        StorageError: no space, no permission; the old file, if any, is intact.
    """
    if not path.name:
        raise StorageError(f"{path} is a folder: name the file to write")
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.part")  # a fixed name: what a kill leaves, the next write replaces
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        kept = "the previous file is intact" if path.exists() else "nothing was written"
        raise StorageError(
            f"cannot save {path} ({len(content) / 1e6:.1f} MB): {error.strerror}; {kept}; "
            "free space or choose another folder"
        ) from error
    return path


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write `value` as indented UTF-8 JSON, in one step as `write_bytes` does."""
    return write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


@contextmanager
def one_at_a_time(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """While inside, no other process is inside for the same `folder`; the system lets go however a process ends.

    The lock is a hidden file beside the folder, so the folder itself may be moved.

    Args:
        folder: need not exist.
        wait: for the other process to leave, or else raise.

    Raises:
        BusyError: another process is inside and `wait` is off.
        StorageError: nothing can be written beside the folder.
    """
    lock = FileLock(make_folder(folder.parent) / f".{folder.name}.lock", timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(f"another process works in {folder}: wait until it has ended, or choose another") from error
    except OSError as error:
        raise StorageError(f"cannot write beside {folder}: {error.strerror}; choose another place") from error
    try:
        yield
    finally:
        lock.release()


def move_aside(folder: Path) -> Path | None:
    """Rename `folder` to the first free `NAME.previous-1`, `-2` …, so that a new run starts clean and loses nothing.

    Returns:
        Where it lies now, or None where there was nothing to move.

    Raises:
        StorageError: it cannot be renamed.
    """
    if not folder.exists():
        return None
    number = 1
    while (target := folder.with_name(f"{folder.name}.previous-{number}")).exists():
        number += 1
    try:
        return folder.rename(target)
    except OSError as error:
        raise StorageError(f"cannot move {folder} aside: {error.strerror}; move it by hand") from error


@contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target` at the end: `target` exists complete or not at all.

    Raises:
        StorageError: `target` has content by then, or cannot be written.
    """
    target = target.resolve()
    require_writable(target.parent)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        unfinished = Path(beside) / target.name  # other users may not enter a temporary folder itself
        unfinished.mkdir()
        yield unfinished
        try:
            if target.is_dir():
                target.rmdir()  # fails unless it is empty
            unfinished.rename(target)
        except OSError as error:
            raise StorageError(f"cannot write the folder {target}: {error.strerror}; run the command again") from error
