"""What an archive is read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.progress import Log

FEWEST, MOST, PARTITIONS = 1_000, 10_000, 500
"""Images of a partition by default, and how many of these there should be.

Many, so that all workers have work to the end, and little is done twice after a failure; and of so many images that
their answers, some 10 kB, and opening the source for them cost next to nothing."""


def partition_images(stated: int | None, images: int) -> int:
    """Images of each partition, of an archive of so many: those that are stated, or by default whole thousands."""
    return stated or min(MOST, max(1, -(-images // (PARTITIONS * FEWEST))) * FEWEST)


@dataclass(frozen=True)
class Listing:
    """All partitions of an archive, in order.

    Attributes:
        partitions: with the numbers 0, 1, 2 …; at least one.
        digest: SHA-256 of what was listed. It is another one where files were added, removed or changed in size.
        is_tried: something in it was opened while it was listed, so that it can be read.
    """

    partitions: Sequence[Partition]
    digest: str
    is_tried: bool = False


class Source(Protocol):
    """An archive. A frozen dataclass that says where it is: small, as each worker receives a copy.

    A class of its own inherits from this one, for the further columns that most do not have.
    """

    @property
    def title(self) -> str:
        """What the user named, for messages."""
        ...

    def listed(self, store: Path, log: Log) -> Listing:
        """List it, in an order that is always the same.

        Args:
            store: a folder that all workers reach, for lists that are too long for memory. What is written there begins
                with `_`, and bears the digest in its name.
            log: receives notes, such as of files that are skipped.

        Raises:
            DataError: it cannot be reached, or has no image.
            MissingExtraError: a package that reads it is not installed.
        """
        ...

    def items(self, partition: Partition) -> Iterator[Item]:
        """The images of one partition, in order, in whichever process: opens what it needs.

        An image that cannot be read is an item with its error.

        Raises:
            DataError: the partition cannot be read at all now, though it may be later: the worker tries again.
        """
        ...

    def columns(self) -> Sequence[Any]:
        """Further columns, as fields of pyarrow; their values are in the `place` of each item."""
        return ()

    def schema_metadata(self, partition: Partition) -> Mapping[str, str]:
        """What the file of a partition says of these columns, such as `geo` of GeoParquet."""
        return {}
