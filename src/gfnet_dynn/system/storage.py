"""Writing files so that a failure leaves the old file as it was."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from filelock import FileLock, Timeout

from gfnet_dynn.errors import BusyError, StorageError

_PREFIX = 50  # characters of a file's name that its temporary file bears: names have at most 255 bytes


def make_folder(folder: Path) -> Path:
    """Create `folder` with its parents; a StorageError where it cannot be created, or a file stands in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create the folder {folder}: {error.strerror}; choose another place") from error
    return folder


def require_writable(folder: Path) -> Path:
    """Create `folder` and prove, by writing one byte, that files can be put there; else raise a StorageError.

    Called before long work, so that a read-only place is found in the first second and not after the first epoch.
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

    Any number of processes may write the same file: the last one to finish wins. A symbolic link at `path` is replaced,
    the file that it points to is not changed.

    Raises:
        StorageError: no space, no permission; the old file, if any, is intact.
    """
    if not path.name:
        raise StorageError(f"{path} is a folder: name the file to write")
    make_folder(path.parent)
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        kept = "the previous file is intact" if path.exists() else "nothing was written"
        raise StorageError(
            f"cannot save {path} ({len(content) / 1e6:.1f} MB): {error.strerror}; {kept}; "
            "free space or choose another folder"
        ) from error
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write, which becomes `path` in one step where the block ends without an error; raises OSError.

    It has a hidden temporary name beside `path`; see `write_bytes`.
    """
    remove_abandoned(path)
    with _temporary(path) as (descriptor, name):
        with open(descriptor, "wb", closefd=False) as file:
            yield file
        os.fsync(descriptor)
        name.replace(path)
    # So that the rename survives a loss of power, where the file system can do that.
    with suppress(OSError), _opened(path.parent, os.O_RDONLY | os.O_DIRECTORY) as folder:
        os.fsync(folder)


def copy_new(source: Path, target: Path, draft: Path) -> Path:
    """Copy a file in one step, but over no other: raises FileExistsError where there is one, and any other OSError.

    It is written under a temporary name of `draft`, on the same file system. See `remove_abandoned`.
    """
    with source.open("rb") as original, _temporary(draft) as (descriptor, name):
        with open(descriptor, "wb", closefd=False) as file:
            shutil.copyfileobj(original, file)
        try:
            os.link(name, target)
        except PermissionError:  # a file system without links, such as FAT
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            name.rename(target)
    return target


def move_into_place(finished: Path, target: Path) -> Path:
    """Give a file that was written beside `target` that name, in one step; raises StorageError: it stays as it was."""
    try:
        with _opened(finished, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)
        return finished.replace(target)
    except OSError as error:
        raise StorageError(f"cannot save {target}: {error.strerror}; the content is in {finished}") from error


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[int, Path]]:
    """A new, locked file beside `path`, removed at the end unless it was renamed.

    The system unlocks it when its process ends, so a file that can be locked is one that a killed process left.
    """
    while True:
        name = path.with_name(f".{path.name[:_PREFIX]}.{secrets.token_hex(6)}.part")
        with _opened(name, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
            with suppress(OSError):  # a file system without locks, where no other process removes it either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not name.exists():
                continue  # another process removed it before it was locked
            try:
                yield descriptor, name
            finally:
                name.unlink(missing_ok=True)
            return


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` whose process was killed."""
    for name in path.parent.glob(f".{glob.escape(path.name[:_PREFIX])}.{'[0-9a-f]' * 12}.part"):
        with suppress(OSError), _opened(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            name.unlink()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def to_json(value: Any) -> bytes:
    """`value` as JSON of RFC 8259 in UTF-8, or a TypeError; NaN and infinities are null, NumPy's values numbers."""
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if not hasattr(value, "item"):
        raise TypeError(f"JSON has nothing like a {type(value).__name__}")
    return value.item()


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON, in one step as `write_bytes` does; for numbers see `to_json`."""
    return write_bytes(path, msgspec.json.format(to_json(value), indent=2) + b"\n")


def json_line(value: Any) -> str:
    """`value` as one line of JSON in ASCII, which every output takes, also with names that are no UTF-8."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """While inside, no other process is inside for the same file, though the file may be replaced there.

    The file itself is locked, so nothing is left behind; who only reads it need not ask.

    Raises:
        StorageError: it cannot be opened, or its file system has no locks.
    """
    with ExitStack() as stack:
        try:
            _lock(file, stack)
        except OSError as error:
            raise StorageError(f"cannot lock {file}: {error.strerror}; choose another place") from error
        yield


def _lock(file: Path, stack: ExitStack) -> None:
    while True:
        # Network file systems lock for writing only what is open for writing.
        access = os.O_RDWR if os.access(file, os.W_OK) else os.O_RDONLY
        descriptor = stack.enter_context(_opened(file, access | os.O_NONBLOCK))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            return
        stack.close()  # it was replaced while this process waited


@contextmanager
def one_at_a_time(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """While inside, no other process is inside for the same `folder`; the system lets go however a process ends.

    The lock is a hidden file beside the folder, so the folder itself may be moved, and need not exist. Where `wait` is
    off, it does not wait for the other process to leave.

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
    """Move `folder` to the first free `.previous/NAME-1`, `-2` … beside it, so that a new run overwrites nothing.

    The folder is hidden, so that a pattern such as `checkpoint/*` names current runs only. Returned is where it lies
    now, or None where there was nothing to move.

    Raises:
        StorageError: it cannot be moved.
    """
    if not folder.exists():
        return None
    number = 1
    while (target := folder.parent / ".previous" / f"{folder.name}-{number}").exists():
        number += 1
    try:
        return folder.rename(make_folder(target.parent) / target.name)
    except OSError as error:
        raise StorageError(f"cannot move {folder} aside: {error.strerror}; move it by hand") from error


@contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target`, complete or not at all; a StorageError where that has content by then."""
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
