"""Finds the image files below a folder: the one place that decides which files count."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.wording import counted

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_KINDS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files below one folder, but for hidden ones.

    Attributes:
        images: regular files with one of `SUFFIXES`, sorted by path (POSIX).
        skipped: all others: of other formats, broken links, FIFOs, sockets and devices; sorted likewise.
    """

    images: tuple[Path, ...]
    skipped: tuple[Path, ...]


def is_image_name(name: str) -> bool:
    """Whether a file of that name counts as an image: one of `SUFFIXES`, and not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 # of many files


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
    try:
        for entry in _files_below(place):
            regular = is_image_name(entry.name) and _is_regular(entry)
            (images if regular else skipped).append(Path(entry.path))
    except OSError as error:
        raise _unreadable(error) from error
    return FoundFiles(tuple(sorted(images, key=Path.as_posix)), tuple(sorted(skipped, key=Path.as_posix)))


def require_images(place: Path) -> FoundFiles:
    """The same, with at least one image.

    Raises:
        DataError: as `find_images`, or none.
    """
    found = find_images(place)
    if not found.images:
        raise DataError(no_images(place, found.skipped))
    return found


def find_classes(root: Path) -> dict[str, FoundFiles]:
    """Class → the files of `root/CLASS/**`, for every folder in `root` that is not hidden, sorted by name.

    Raises:
        DataError: as `find_images`.
    """
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    except OSError as error:
        raise _unreadable(error) from error
    return {name: find_images(root / name) for name in names}


def describe_skipped(skipped: Iterable[Path]) -> str:
    """How many files were skipped, and of which formats, such as ``3 other files (2 .jp2, 1 .txt)``; empty for none."""
    kinds = Counter(path.suffix.lower() or "no suffix" for path in skipped)
    shown = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda each: (-each[1], each[0]))]
    more = [f"{len(shown) - _KINDS_SHOWN} more formats"] if len(shown) > _KINDS_SHOWN else []
    listed = ", ".join([*shown[:_KINDS_SHOWN], *more])
    return f"{counted(kinds.total(), 'other file')} ({listed})" if kinds else ""


def no_images(folder: Path, skipped: Iterable[Path]) -> str:
    """The part of an error message that states what a folder without images has instead."""
    others = describe_skipped(skipped)
    return f"the folder {folder} has no images ({', '.join(sorted(SUFFIXES))})" + (f", but {others}" if others else "")


def _files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    real = folder.resolve()
    listed = {_identity(str(above)) for above in (real, *real.parents)}
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            entries = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
        for entry in entries:
            if not _is_folder(entry):
                yield entry
            elif (identity := _identity(entry.path)) not in listed:
                listed.add(identity)
                waiting.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # A link is looked at by its path: `DirEntry.is_dir` raises where one leads to itself.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112 # a path, of many


def _is_regular(entry: os.DirEntry[str]) -> bool:
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()  # noqa: PTH113 # likewise


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)  # noqa: PTH116 # follows a link
    return found.st_dev, found.st_ino


def _unreadable(error: OSError) -> DataError:
    return DataError(f"cannot read {error.filename}: {error.strerror}; change its permissions")
