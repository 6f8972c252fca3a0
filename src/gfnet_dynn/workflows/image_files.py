"""The image files that a request names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.image import SUFFIXES


def find_readable(places: Sequence[Path], on_unreadable: Callable[[DataError], None] | None) -> list[Path]:
    """The images at all places that can be read, in order.

    Args:
        places: files and folders.
        on_unreadable: called with the error of each place that cannot be read or has no image; None: raise it.

    Raises:
        DataError: a place cannot be read or has no image, and it is the only one or `on_unreadable` is None.
    """
    files: list[Path] = []
    for place in places:
        try:
            files += find_images([place])
        except DataError as error:
            if len(places) == 1 or on_unreadable is None:
                raise
            on_unreadable(error)
    return files


def find_images(places: Sequence[Path]) -> Iterator[Path]:
    """The files, and the images below the folders, in order.

    Raises:
        DataError: a folder holds no image or cannot be read, or a place does not exist.
    """
    for place in places:
        try:
            found = list(_images_at(place))
        except OSError as error:
            raise DataError(f"cannot look for images at {place}: {error.strerror}") from error
        yield from found


def _images_at(place: Path) -> Iterator[Path]:
    if not place.exists():
        raise DataError(f"no file or folder {place}")
    if not place.is_dir():
        yield place
        return
    below = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not below:
        raise DataError(f"the folder {place} holds no images ({', '.join(sorted(SUFFIXES))})")
    yield from below
