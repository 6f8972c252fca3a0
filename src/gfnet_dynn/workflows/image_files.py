"""The image files that a request names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import require_images


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
            files += require_images(place).images
        except DataError as error:
            if len(places) == 1 or on_unreadable is None:
                raise
            on_unreadable(error)
    return files
