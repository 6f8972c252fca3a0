"""One frame: where it comes from, what is read, and how a file is recognised."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gfnet_dynn.runtime.predictor import Picture


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size in bytes and time of change in ns; both change when a file is written again."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileStamp:
        """The stamp in what `stat` found."""
        return cls(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        source: the file, or the device of the camera.
        picture: what the classifier reads: the file, or pixels, uint8 [height, width, 3].
        stamp: of the file, before it is read; None for a camera.
    """

    source: Path
    picture: Picture
    stamp: FileStamp | None = None


class FrameSource(Protocol):
    """Where frames come from."""

    def look(self) -> Sequence[Frame]:
        """Those that are ready now, the oldest first; none where the source is away, which is logged once."""

    def is_current(self, frame: Frame) -> bool:
        """Whether a frame was not written again since `look`; it comes again otherwise."""

    @property
    def has_more(self) -> bool:
        """Whether to look again at once."""

    def close(self) -> None:
        """Let go of it."""


def file_key(source: str, stamp: FileStamp) -> int:
    """64 bits of a digest of name, size and time of change.

    Of a million files, two have the same with a probability of 3 in 100 million.
    """
    text = b"%s\0%d\0%d" % (os.fsencode(source), stamp.size, stamp.modified_ns)
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
