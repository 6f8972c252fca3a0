"""Archives of shards: .tar files of images, as WebDataset has them, read from the first byte to the last."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.places import MOST_BYTES, MissingFileError, find_all, opened
from gfnet_dynn.archive.source import Listing, Source
from gfnet_dynn.display import printable
from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.files import is_image_name
from gfnet_dynn.progress import Log
from gfnet_dynn.system.storage import to_json

SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class ShardSource(Source):
    """Each .tar file is one partition; an image's id is the name of the file and that of the member.

    Members that are no images by their names, such as the .json and .cls of WebDataset, are skipped.

    Attributes:
        places: files, folders of them, or patterns; paths or URLs.
    """

    places: tuple[str, ...]

    @property
    def title(self) -> str:
        """The places."""
        return ", ".join(self.places)

    def listed(self, store: Path, log: Log) -> Listing:
        """List the files: names and sizes; raises DataError."""
        files = find_all(self.places, SUFFIXES)
        partitions = [
            Partition(number, (each.uri,), 0, each.size, None, each.name) for number, each in enumerate(files)
        ]
        return Listing(partitions, hashlib.sha256(to_json([(each.name, each.size) for each in files])).hexdigest())

    def items(self, partition: Partition) -> Iterator[Item]:
        """The images of one file; where it is damaged or gone, those before, and an item with the error."""
        (uri,) = partition.uris
        try:
            with opened(uri) as file:
                yield from _members(file, partition.name)
        except MissingFileError as error:
            yield Item(partition.name, ImageError(str(error)))


def _members(file: BinaryIO, name: str) -> Iterator[Item]:
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                if member.isreg() and is_image_name(member.name.rpartition("/")[2]):
                    yield Item(f"{name}/{member.name}", _content(archive, member))
    except (tarfile.TarError, EOFError, ValueError) as error:
        problem = f"{printable(name)} is damaged: {printable(error)}; what follows in it was not read"
        yield Item(name, ImageError(problem))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | ImageError:
    if member.size > MOST_BYTES:
        return ImageError(f"{printable(member.name)} has more than {MOST_BYTES >> 20} MB: give a smaller image")
    file = archive.extractfile(member)
    return b"" if file is None else file.read()
