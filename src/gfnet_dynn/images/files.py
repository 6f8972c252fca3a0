"""Finds the image files below a folder: the one place that decides which files count."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gfnet_dynn.errors import DataError
from gfnet_dynn.wording import counted

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

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
        for file in _files_below(place):
            (images if is_image_name(file.name) and file.is_file() else skipped).append(file)
    except OSError as error:
        _refuse(error)
    return FoundFiles(tuple(sorted(images, key=Path.as_posix)), tuple(sorted(skipped, key=Path.as_posix)))


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
    kinds = Counter(path.suffix.lower() or "no suffix" for path in skipped)
    shown = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda each: (-each[1], each[0]))]
    more = [f"{len(shown) - _KINDS_SHOWN} more formats"] if len(shown) > _KINDS_SHOWN else []
    listed = ", ".join([*shown[:_KINDS_SHOWN], *more])
    return f"{counted(kinds.total(), 'other file')} ({listed})" if kinds else ""


def no_images(folder: Path, skipped: Iterable[Path]) -> str:
    """The part of an error message that states what a folder without images has instead."""
    others = describe_skipped(skipped)
    return f"the folder {folder} has no images ({', '.join(sorted(SUFFIXES))})" + (f", but {others}" if others else "")


def _files_below(folder: Path) -> Iterator[Path]:
    real = folder.resolve()
    listed = {_identity(above) for above in (real, *real.parents)}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        yield from (Path(place, name) for name in files if not name.startswith("."))
        visible = sorted(name for name in folders if not name.startswith("."))
        folders.clear()  # of those that are left in it, `os.walk` lists the files next
        for name in visible:
            if (identity := _identity(Path(place, name))) not in listed:
                listed.add(identity)
                folders.append(name)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()  # follows a link
    return found.st_dev, found.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"cannot read {error.filename}: {error.strerror}; change its permissions") from error
