"""The files that a request names, one after the other: in folders, in lists, on standard input."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import describe_kinds, is_image, require_images, walk
from gfnet_dynn.progress import Log
from gfnet_dynn.runtime.prediction import Unreadable
from gfnet_dynn.runtime.request import STDIN, ClassifyRequest

_LONGEST = 4096  # bytes of a path on Linux


def iter_sources(request: ClassifyRequest, log: Log) -> Iterator[Path | Unreadable]:
    """Yield files in the order given, those of a folder by their paths; and places that cannot be read.

    `log` receives a note for each folder that holds other files.

    Raises:
        DataError: the only place cannot be read or has no image; a list cannot be read, or is none.
    """
    alone = len(request.images) == 1 and request.name_list is None
    for place in request.images:
        try:
            yield from _listed(place) if place == STDIN else _found(place, log)
        except DataError as error:
            if alone:
                raise
            yield Unreadable(place, error)
    if request.name_list is not None:
        yield from _listed(request.name_list)


def _found(place: Path, log: Log) -> Iterator[Path | Unreadable]:
    """A file, or the images in a folder; raises DataError: it is not there, or has no image."""
    if not place.is_dir():
        yield from require_images(place).images
        return
    closed: list[Unreadable] = []
    skipped: Counter[str] = Counter()
    example, empty = place, True
    for file in walk(place):
        if isinstance(file, DataError):
            closed.append(Unreadable(place, file))
        elif is_image(file):
            yield from closed
            yield file
            closed, empty = [], False
        else:
            example = example if skipped else file
            skipped[file.suffix] += 1
    if empty:
        require_images(place)
    yield from closed
    if skipped:
        log(f"note: {describe_kinds(skipped)} skipped, such as {example}")


def _listed(place: Path) -> Iterator[Path]:
    """The names in a list, one a line; raises DataError: it cannot be read, has none, or a line is no name."""
    title = "standard input" if place == STDIN else str(place)
    empty = True
    with _opened(place) as lines:
        number = 0
        while line := lines.readline(_LONGEST + 2):
            number += 1
            if len(line) > _LONGEST + 1:
                raise DataError(f"line {number} of {title} is longer than any path: give file names, one a line")
            if name := line.rstrip(b"\r\n"):
                empty = False
                yield Path(os.fsdecode(name))
    if empty:
        raise DataError(f"nothing to classify: {title} has no file names (one a line)")


@contextmanager
def _opened(place: Path) -> Iterator[BinaryIO]:
    if place == STDIN:
        if sys.stdin is None:
            raise DataError("standard input is closed: send file names to it, or give --list FILE")
        yield sys.stdin.buffer
        return
    try:
        file = place.open("rb")
    except OSError as error:
        raise DataError(f"cannot read the list {place}: {error.strerror}; name a file with one name a line") from error
    with file:
        yield file
