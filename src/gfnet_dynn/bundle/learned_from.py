"""Which images a network was trained and selected on, as digests of their files: nothing may be guaranteed on those.

Eight bytes of SHA-256 for each image: a megabyte tells 130,000 apart, and gives none of them away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from gfnet_dynn.errors import BundleError, DataError

NAME = "learned_from.sha256"
"""The file's name in a bundle, and in the folder of a run."""

_BYTES = 8

Told = Callable[[int], None]


def digests(files: Iterable[Path], told: Told = lambda done: None) -> list[bytes]:
    """One digest for each file, in order.

    Args:
        files: images.
        told: of the number done.

    Raises:
        DataError: a file cannot be read.
    """
    found = []
    for done, file in enumerate(files, start=1):
        try:
            found.append(hashlib.sha256(file.read_bytes()).digest()[:_BYTES])
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error
        told(done)
    return found


def pack(found: Iterable[bytes]) -> bytes:
    """The digests of a set of images as one content, whatever their order."""
    return b"".join(sorted(set(found)))


def unpack(content: bytes) -> frozenset[bytes]:
    """What `pack` made.

    Raises:
        BundleError: the content is empty, though a network has learned from something, or cut off.
    """
    if not content:
        raise BundleError(f"its {NAME} is empty: export it anew")
    if len(content) % _BYTES:
        raise BundleError(f"its {NAME} is cut off: export it anew")
    return frozenset(content[start : start + _BYTES] for start in range(0, len(content), _BYTES))
