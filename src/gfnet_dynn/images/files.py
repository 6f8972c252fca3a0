"""Finds the image files below a folder: the one place that decides which files count."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gfnet_dynn.errors import DataError
from gfnet_dynn.wording import counted

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", *TIFF_SUFFIXES, ".bmp", ".webp"})

_KINDS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files below one folder, but for hidden ones; sorted by path (POSIX).

    Images are regular files with one of `SUFFIXES`; others, broken links, FIFOs, sockets and devices are skipped.
    """

    images: tuple[Path, ...]
    skipped: tuple[Path, ...]


def is_image_name(name: str) -> bool:
    """Whether a file of that name counts as an image: one of `SUFFIXES`, and not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 # of many files


def is_image(file: Path) -> bool:
    """Whether it is a regular file, or a link to one, with the name of an image."""
    return is_image_name(file.name) and file.is_file()


def find_images(place: Path) -> FoundFiles:
    """A file as it is, whatever its name; or the files in a folder and below it. Nothing is opened.

    Links are followed, but to no folder that was listed before and to none above `place`, so loops end.

    Raises:
        DataError: no such file or folder, or a folder that cannot be read.
    """
    if not place.is_dir():
        if not place.exists():
            raise DataError(f"no file or folder {place}")
        return FoundFiles((place,), ())
    images: list[Path] = []
    skipped: list[Path] = []
    for file in walk(place):
        if isinstance(file, DataError):
            raise file
        (images if is_image(file) else skipped).append(file)
    return FoundFiles(tuple(images), tuple(skipped))


def require_images(place: Path) -> FoundFiles:
    """The same with at least one image, or DataError."""
    found = find_images(place)
    if not found.images:
        raise DataError(no_images(place, found.skipped))
    return found


def find_classes(root: Path) -> dict[str, FoundFiles]:
    """Class → the files of `root/CLASS/**`, for every visible folder in `root`, sorted by name; or DataError."""
    _, folders, _ = next(os.walk(root, onerror=_refuse))
    return {name: find_images(root / name) for name in sorted(folders) if not name.startswith(".")}


def describe_skipped(skipped: Iterable[Path]) -> str:
    """How many files were skipped, and of which formats, such as ``3 other files (2 .jp2, 1 .txt)``; empty for none."""
    return describe_kinds(Counter(path.suffix for path in skipped))


def describe_kinds(suffixes: Mapping[str, int]) -> str:
    """The same, of counts by suffix."""
    kinds: Counter[str] = Counter()
    for suffix, count in suffixes.items():
        kinds[suffix.lower() or "no suffix"] += count
    shown = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda each: (-each[1], each[0]))]
    more = [f"{len(shown) - _KINDS_SHOWN} more formats"] if len(shown) > _KINDS_SHOWN else []
    listed = ", ".join([*shown[:_KINDS_SHOWN], *more])
    return f"{counted(kinds.total(), 'other file')} ({listed})" if kinds else ""


def no_images(folder: Path, skipped: Iterable[Path]) -> str:
    """The part of an error message that states what a folder without images has instead."""
    others = describe_skipped(skipped)
    return f"the folder {folder} has no images ({', '.join(sorted(SUFFIXES))})" + (f", but {others}" if others else "")


def walk(folder: Path) -> Iterator[Path | DataError]:
    """The files below a folder in the order of their paths (POSIX), but for hidden ones; and its unreadable folders.

    No more than the names in the folders on the way to a file are in memory at once. For links see `find_images`.
    """
    try:
        real = folder.resolve()
        listed = {_identity(above) for above in (real, *real.parents)}
        opened = [_entries(folder, listed)]
    except OSError as error:
        yield _unreadable(error)
        return
    while opened:
        path = next(opened[-1], None)
        if path is None:
            opened.pop()
        elif not path.endswith("/"):
            yield Path(path)
        else:
            try:
                opened.append(_entries(Path(path), listed))
            except OSError as error:
                yield _unreadable(error)


def _entries(folder: Path, listed: set[tuple[int, int]]) -> Iterator[str]:
    """Paths of the visible files and folders, those of folders with a slash at the end; sorted, as whole paths are."""
    with os.scandir(folder) as found:
        visible = sorted((entry.name, _is_folder(entry)) for entry in found if not entry.name.startswith("."))
    names = []
    for name, is_folder in visible:
        if not is_folder:
            names.append(name)
        elif (identity := _identity(folder / name)) not in listed:
            listed.add(identity)
            names.append(f"{name}/")
    return (f"{folder / name}{name[-1] if name.endswith('/') else ''}" for name in sorted(names))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()  # follows a link
    return found.st_dev, found.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise _unreadable(error) from error


def _unreadable(error: OSError) -> DataError:
    return DataError(f"cannot read {error.filename}: {error.strerror}; change its permissions")
