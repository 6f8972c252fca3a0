"""Digests of the images that a network was trained and selected on, as nothing can be guaranteed on those.

Eight bytes of SHA-256 for each image: a megabyte for 130,000 images, from which none can be reconstructed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from gfnet_dynn.errors import BundleError, DataError

NAME = "learned_from.sha256"
"""The file's name in a bundle, and in the folder of a run."""

_BYTES = 8


def digests(files: Iterable[Path], on_file: Callable[[int], None] = lambda done: None) -> list[bytes]:
    """One digest for each file, in order.

    Args:
        files: images.
        on_file: called with the number of files done.

    Raises:
        DataError: a file cannot be read.
    """
    found = []
    for done, file in enumerate(files, start=1):
        try:
            found.append(hashlib.sha256(file.read_bytes()).digest()[:_BYTES])
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error
        on_file(done)
    return found


def pack(found: Iterable[bytes]) -> bytes:
    """The digests of a set of images as one content, independent of their order."""
    return b"".join(sorted(set(found)))


def unpack(content: bytes) -> frozenset[bytes]:
    """The digests in a content made by `pack`.

    Raises:
        BundleError: the content is empty or cut off.
    """
    if not content:
        raise BundleError(f"its {NAME} is empty: export it again")
    if len(content) % _BYTES:
        raise BundleError(f"its {NAME} is cut off: export it again")
    return frozenset(content[start : start + _BYTES] for start in range(0, len(content), _BYTES))
