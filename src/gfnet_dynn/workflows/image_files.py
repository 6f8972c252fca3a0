"""The image files that a request names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import describe_skipped, require_images
from gfnet_dynn.progress import Log, ignore_log


def find_readable(
    places: Sequence[Path], on_unreadable: Callable[[DataError], None] | None, log: Log = ignore_log
) -> list[Path]:
    """The images at all places that can be read, in order.

    Args:
        places: files and folders.
        on_unreadable: called with the error of each place that cannot be read or has no image; None: raise it.
        log: called with a note on files of other formats, which are skipped.

    Raises:
        DataError: a place cannot be read or has no image, and it is the only one or `on_unreadable` is None.
    """
    files: list[Path] = []
    for place in places:
        try:
            found = require_images(place)
        except DataError as error:
            if len(places) == 1 or on_unreadable is None:
                raise
            on_unreadable(error)
        else:
            files += found.images
            if found.skipped:
                log(f"note: {describe_skipped(found.skipped)} skipped, such as {found.skipped[0]}")
    return files
