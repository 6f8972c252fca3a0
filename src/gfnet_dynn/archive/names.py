"""Archives of image files: a folder of them, or a list of their names and URLs.

Their names are written into one file beside the answers, from which each worker reads its part: the memory that a
driver needs does not grow with them. Each name ends with a null byte, which no path has.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.places import MissingFileError, file_system, is_url, opened, read_image_file
from gfnet_dynn.archive.source import FEWEST, Listing, Source, partition_images
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, ImageError, StorageError
from gfnet_dynn.images.files import TIFF_SUFFIXES, describe_kinds, is_image, is_image_name, no_images, walk
from gfnet_dynn.progress import Log
from gfnet_dynn.system.storage import replacing
from gfnet_dynn.wording import counted

STDIN = "-"

_END = b"\0"
_LONGEST = 8192  # bytes of a name
_AT_ONCE = 16  # images that are fetched at the same time, as a network is slow to begin
_BUFFER = 2**20


@dataclass(frozen=True)
class FolderSource(Source):
    """The images in a folder and below it; an image's id is its path relative to the folder.

    Attributes:
        root: path or URL.
        partition_size: images; None: by their number.
    """

    root: str
    partition_size: int | None

    @property
    def title(self) -> str:
        """The folder."""
        return self.root

    def listed(self, store: Path, log: Log) -> Listing:
        """List it: names and sizes; raises DataError."""
        names = _remote_names(self.root) if is_url(self.root) else _local_names(Path(self.root), log)
        return _stored(names, store, self.partition_size, self.root)

    def items(self, partition: Partition) -> Iterator[Item]:
        """The images of one partition."""
        if not is_url(self.root):
            root = Path(self.root)
            for name in _read_names(partition):
                yield Item(name, root / name)
            return
        system, path = file_system(self.root)
        base = system.unstrip_protocol(path).rstrip("/")
        yield from _fetched((name, f"{base}/{name}") for name in _read_names(partition))


@dataclass(frozen=True)
class ListSource(Source):
    """Image files by path or URL, one a line; an image's id is its line.

    Attributes:
        place: path or URL of the list; `-`: standard input, which is read once and stored.
        partition_size: images; None: by their number.
    """

    place: str
    partition_size: int | None

    @property
    def title(self) -> str:
        """The list."""
        return "standard input" if self.place == STDIN else self.place

    def listed(self, store: Path, log: Log) -> Listing:
        """Read the list; raises DataError: it cannot be read, has no names, or a line is no name."""
        with _list_opened(self.place) as file:
            names = ((name, None) for name in _lines(file, self.title))
            return _stored(names, store, self.partition_size, self.title)

    def items(self, partition: Partition) -> Iterator[Item]:
        """The images of one partition."""
        yield from _fetched((name, name) for name in _read_names(partition))


def _local_names(root: Path, log: Log) -> Iterator[tuple[str, int | None]]:
    """Names and sizes; raises DataError: a folder that cannot be read."""
    if not root.is_dir():
        raise DataError(f"no folder {printable(root)}: name a folder of images, or a list of them")
    skipped: Counter[str] = Counter()
    example, tiffs = root, 0
    for file in walk(root):
        if isinstance(file, DataError):
            raise file
        if is_image(file):
            tiffs += file.suffix.lower() in TIFF_SUFFIXES
            yield os.path.relpath(file, root), file.stat().st_size
        else:
            example = example if skipped else file
            skipped[file.suffix] += 1
    if tiffs:
        log(f"note: {counted(tiffs, 'TIFF')} taken as one image each; --kind scenes cuts scenes into chips")
    if skipped:
        log(f"note: {describe_kinds(skipped)} skipped, such as {example}")


def _remote_names(root: str) -> Iterator[tuple[str, int | None]]:
    system, path = file_system(root)
    try:
        for folder, folders, files in system.walk(path, detail=True, on_error="raise"):
            for name in [each for each in folders if each.startswith((".", "_"))]:
                del folders[name]  # which `walk` then does not enter
            below = folder[len(path.rstrip("/")) :].strip("/")
            for name in sorted(files):
                if is_image_name(name):
                    yield (f"{below}/{name}" if below else name), int(files[name].get("size") or 0)
    except Exception as error:  # file systems raise classes of their own packages
        raise DataError(
            f"cannot list {printable(root)}: {printable(error) or type(error).__name__}; check the address, the "
            "connection and your permission"
        ) from error


@contextmanager
def _list_opened(place: str) -> Iterator[BinaryIO]:
    if place != STDIN:
        with opened(place) as file:
            yield file
        return
    if sys.stdin is None:
        raise DataError("standard input is closed: send file names to it, or name a file with them")
    yield sys.stdin.buffer


def _lines(file: BinaryIO, title: str) -> Iterator[str]:
    number = 0
    while line := file.readline(_LONGEST + 2):
        number += 1
        if len(line) > _LONGEST + 1 or _END in line:
            raise DataError(f"line {number} of {title} is no name: give paths or URLs, one a line")
        if name := line.rstrip(b"\r\n"):
            yield os.fsdecode(name)


def _stored(names: Iterable[tuple[str, int | None]], store: Path, stated: int | None, title: str) -> Listing:
    """Write names to the store, and cut them into partitions; raises DataError: none, StorageError: no space."""
    draft, digest, starts, count, end = store / "_names", hashlib.sha256(), [0], 0, 0
    step = stated or FEWEST  # of which the size is a multiple, as their number is known at the end
    try:
        with replacing(draft) as file:
            for name, length in names:
                content = os.fsencode(name) + _END
                digest.update(content + str(length).encode() + _END)
                if count and count % step == 0:
                    starts.append(end)
                count, end = count + 1, end + file.write(content)
        if not count:
            draft.unlink()
            raise DataError(no_images(Path(title), ()) if title != "standard input" else "standard input has no names")
        target = draft.replace(store / _list_name(digest.hexdigest()))
    except OSError as error:
        raise StorageError(f"cannot write the list of images into {store}: {error.strerror}; free space") from error
    size = partition_images(stated, count)
    starts = starts[:: size // step]
    stops = [*starts[1:], end]
    partitions = [
        Partition(number, (str(target.absolute()),), start, stop, min(size, count - number * size))
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
    return Listing(partitions, digest.hexdigest())


def _read_names(partition: Partition) -> Iterator[str]:
    """The names of one partition; raises DataError: the list that the driver wrote is not there."""
    (store,) = partition.uris
    try:
        with Path(store).open("rb", buffering=_BUFFER) as file:
            file.seek(partition.start)
            content = file.read(partition.stop - partition.start)
    except OSError as error:
        raise DataError(f"cannot read {store}: {error.strerror}; all workers must see the folder of answers") from error
    yield from map(os.fsdecode, content.split(_END)[:-1])


def _fetched(named: Iterable[tuple[str, str]]) -> Iterator[Item]:
    """Items in order, from ids and places; what is remote is read by several threads, some images in advance.

    Raises DataError: nothing of it could be reached, which looks like a network that is gone.
    """
    unreachable: list[ImageError] = []
    count = 0
    for item in _in_order(named):
        count += 1
        if isinstance(item.picture, ImageError) and not isinstance(item.picture.__cause__, MissingFileError):
            unreachable.append(item.picture)
        yield item
    if count >= _AT_ONCE and len(unreachable) == count:
        raise DataError(f"no image of {count} could be reached, such as: {unreachable[0]}")


def _in_order(named: Iterable[tuple[str, str]]) -> Iterator[Item]:
    waiting: deque[Item | Future[Item]] = deque()
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        for name, place in named:
            waiting.append(pool.submit(_fetch, name, place) if is_url(place) else Item(name, Path(place)))
            if len(waiting) > 2 * _AT_ONCE:
                yield _ready(waiting.popleft())
        while waiting:
            yield _ready(waiting.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ready(item: Item | Future[Item]) -> Item:
    return item if isinstance(item, Item) else item.result()


def _fetch(name: str, uri: str) -> Item:
    try:
        return Item(name, read_image_file(uri))
    except DataError as error:
        problem = ImageError(str(error))
        problem.__cause__ = error
        return Item(name, problem)


def remove_other_lists(store: Path, digest: str) -> None:
    """Remove the lists of other listings, which were refused."""
    for path in (*store.glob("_names*"), *store.glob("_scenes-*")):
        if path.name.rpartition("-")[2] != digest[:16]:
            path.unlink(missing_ok=True)


def _list_name(digest: str) -> str:
    return f"_names-{digest[:16]}"
