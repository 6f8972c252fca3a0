"""Files by path or URL: the one place that knows fsspec."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

import fsspec
from fsspec.registry import known_implementations

from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, GFNetDynnError, ImageError

Result = TypeVar("Result")

MOST_BYTES = 2**29
"""Of one image that is read whole; a larger one is refused."""

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_GLOB = re.compile(r"[*?\[]")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PACKAGES |= {"http": "aiohttp", "https": "aiohttp", "hf": "huggingface_hub"}
_TRIES = 3
_FIRST_PAUSE_S = 0.5
_GONE, _REFUSALS = (404, 410), (401, 403, 407, 451)  # by status of HTTP
_FOREVER = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # to try again does not help


class MissingFileError(DataError):
    """A file that is not there, and will not be however often one asks."""


class ForbiddenFileError(DataError):
    """A file that a server refuses to give."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file: what opens it, its name below the place where it was found, and its bytes."""

    uri: str
    name: str
    size: int


def is_url(text: str) -> bool:
    """Whether it is a URL rather than a path."""
    return bool(_URL.match(text))


def file_system(uri: str) -> tuple[Any, str]:
    """The file system of a path or URL, and what the place is called there.

    Raises:
        DataError: nothing knows such URLs, or the package that does is not installed.
    """
    protocol = uri.partition("://")[0].lower() if is_url(uri) else "file"
    if protocol not in known_implementations and protocol not in fsspec.available_protocols():
        raise DataError(f"cannot read {printable(uri)}: nothing knows {protocol}:// (s3, gs, az, https, hf …)")
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        package = _PACKAGES.get(protocol, str(error))
        raise DataError(
            f"cannot read {printable(uri)}: {protocol}:// needs a package that is not installed: pip install {package}"
        ) from error
    except Exception as error:
        _refuse(uri, error)
    return system, path


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """A file to read.

    Raises:
        DataError: it cannot be reached, also where a later read fails.
        MissingFileError: it is not there.
    """
    system, path = file_system(uri)
    file = _tried(uri, lambda: system.open(path, "rb"))
    try:
        with file:
            yield cast(BinaryIO, file)
    except GFNetDynnError:
        raise
    except Exception as error:
        _refuse(uri, error)


def read_image_file(uri: str) -> bytes:
    """The content of one image; raises DataError as `opened`, ImageError: too large."""
    with opened(uri) as file:
        content = _tried(uri, lambda: _whole(file))
    if len(content) > MOST_BYTES:
        raise ImageError(f"{printable(uri)} has more than {MOST_BYTES >> 20} MB: give a smaller image")
    return content


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(MOST_BYTES + 1)


def find_files(place: str, suffixes: Sequence[str]) -> list[Found]:
    """A file as it is; or the files with one of these suffixes in a folder and below it, or of a pattern.

    A pattern is a path or URL with `*`, such as `s3://bucket/*.tar`. Sorted by name; hidden ones do not count.

    Raises:
        DataError: there is nothing, or it cannot be reached.
    """
    system, path = file_system(place)
    found = _tried(place, lambda: _listed(system, path, tuple(suffixes)))
    if not found:
        raise DataError(
            f"nothing at {printable(place)}: name a file, a folder or a pattern, with {', '.join(suffixes)}"
        )
    return sorted(found, key=lambda each: each.name)


def _listed(system: Any, path: str, suffixes: tuple[str, ...]) -> list[Found]:
    if _GLOB.search(path):
        base = _GLOB.split(path, maxsplit=1)[0].rpartition("/")[0]
        entries = system.glob(path, detail=True)
    elif system.isdir(path):
        base, entries = path.rstrip("/"), system.find(path, detail=True)
    else:
        entries, base = {path: system.info(path)}, path.rpartition("/")[0]
        return [Found(system.unstrip_protocol(path), _below(base, path), _size(entries[path]))]
    return [
        Found(system.unstrip_protocol(name), _below(base, name), _size(entry))
        for name, entry in entries.items()
        if entry["type"] == "file" and name.lower().endswith(suffixes) and not _is_hidden(_below(base, name))
    ]


def _below(base: str, path: str) -> str:
    return path[len(base) :].lstrip("/") if path.startswith(base) else path


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _size(entry: Any) -> int:
    return int(entry.get("size") or 0)


def find_all(places: Sequence[str], suffixes: Sequence[str]) -> list[Found]:
    """As `find_files` of several places, one after the other; where names are not unique, they are the whole URIs."""
    files = [each for place in places for each in find_files(place, suffixes)]
    names = Counter(each.name for each in files)
    return [each if names[each.name] == 1 else Found(each.uri, each.uri, each.size) for each in files]


def _tried(uri: str, action: Callable[[], Result]) -> Result:
    """What the action returns, after some attempts where the network fails; raises DataError."""
    pause = _FIRST_PAUSE_S
    for _ in range(_TRIES - 1 if is_url(uri) else 0):
        try:
            return action()
        except Exception as error:  # file systems raise classes of their own packages
            if isinstance(_meant(error), _FOREVER) or _status(_meant(error)) in _REFUSALS:
                _refuse(uri, error)
            time.sleep(pause)
            pause *= 2
    try:
        return action()
    except Exception as error:
        _refuse(uri, error)


def _meant(error: BaseException) -> BaseException:
    """The cause: fsspec calls whatever fails over HTTP a missing file."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None or _status(cause) in _GONE:
        return error
    is_network = type(cause).__module__.partition(".")[0] == "aiohttp" or isinstance(cause, TimeoutError)
    return cause if is_network else error


def _status(error: BaseException) -> int | None:
    """Of HTTP."""
    return getattr(error, "status", None)


def _refuse(uri: str, caught: Exception) -> NoReturn:
    error = _meant(caught)
    if _status(error) in _REFUSALS:
        raise ForbiddenFileError(
            f"cannot read {printable(uri)}: the server refuses it, status {_status(error)}"
        ) from error
    if isinstance(error, FileNotFoundError):
        raise MissingFileError(f"no file {printable(uri)}") from error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    raise DataError(
        f"cannot read {printable(uri)}: {printable(reason)}; check the address, the connection and your permission"
    ) from error
