"""The pieces that an archive is classified in, and the images of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import ImageError

Picture = Path | bytes | npt.NDArray[np.uint8]
"""An image file, the content of one, or RGB pixels, uint8 [height, width, 3]."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A piece of an archive that one worker classifies into one file. Small: it is sent to other processes and nodes.

    Attributes:
        number: place in the archive, from 0.
        uris: files that hold the images, or that list them.
        start: of what is in them, the first that belongs to it.
        stop: the first that does not; what is counted, bytes, row groups or chips, is up to the source.
        rows: number of images; None: not known before they are read.
        name: with which the ids of its images begin, where they are in one file.
    """

    number: int
    uris: tuple[str, ...]
    start: int = 0
    stop: int = 0
    rows: int | None = None
    name: str = ""

    @property
    def id(self) -> str:
        """Stem of the file with its answers."""
        return f"part-{self.number:05d}"

    @property
    def file_name(self) -> str:
        """Of its answers: it is done exactly when there is one."""
        return f"{self.id}.parquet"


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a partition.

    Attributes:
        id: unique in the archive, and the same whatever the partitions.
        picture: the image; an error: it cannot be read, and its row says so.
        place: values of the further columns that its source has, by name.
    """

    id: str
    picture: Picture | ImageError
    place: Mapping[str, Any] = field(default_factory=dict)
