"""The image files that a request names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import require_images


def find_readable(places: Sequence[Path], omit: Callable[[DataError], None]) -> list[Path]:
    """The images at all places that can be read, in order.

    Args:
        places: files and folders.
        omit: called with the error of each place that cannot be read, or holds no image.

    Raises:
        DataError: there is one place only, and it cannot be read or holds none.
    """
    files: list[Path] = []
    for place in places:
        try:
            files += require_images(place).images
        except DataError as error:
            if len(places) == 1:
                raise
            omit(error)
    return files
