"""Images out of a ZIP archive that may be hostile: nothing outside the target, no links, no flood."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gfnet_dynn.data.catalogue.fetch import Progress, no_progress
from gfnet_dynn.errors import DownloadError, StorageError
from gfnet_dynn.images.files import is_image_name

_CHUNK_BYTES = 1 << 20
_MOST_ENTRIES = 200_000  # several times the largest known set; reading a list of names must not fill the memory


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP archive; whatever is wrong inside it is raised as one kind of error.

    Raises:
        DownloadError: not a ZIP archive, a damaged or an encrypted one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f"{path} cannot be unpacked: {error}; remove it and run the command again") from error


def list_images(archive: zipfile.ZipFile, images_folder: str) -> dict[str, zipfile.ZipInfo]:
    """The images that lie in `images_folder/CLASS/`, by ``CLASS/file``.

    Raises:
        DownloadError: any entry, also one that would not be unpacked, leads out of the archive or is a link.
    """
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise DownloadError(
            f"{archive.filename} has {len(entries)} entries, more than any known data set; not unpacked"
        )
    images: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        _refuse_unsafe(entry, archive.filename)
        path = PurePosixPath(entry.filename)
        if entry.is_dir() or not is_image_name(path.name):
            continue
        if path.parent.parent == PurePosixPath(images_folder):
            images[f"{path.parent.name}/{path.name}"] = entry
    return images


def _refuse_unsafe(entry: zipfile.ZipInfo, archive: str | None) -> None:
    parts = entry.orig_filename.replace("\\", "/").split("/")
    leads_out = ".." in parts or parts[0] == "" or parts[0].endswith(":")
    if leads_out or "\0" in entry.orig_filename:
        raise DownloadError(
            f"{archive} has an entry that leads out of it, {entry.orig_filename!r}; nothing was unpacked"
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DownloadError(f"{archive} has a link, {entry.orig_filename!r}; nothing was unpacked")


def unpack(
    archive: zipfile.ZipFile,
    places: Mapping[Path, zipfile.ZipInfo],
    limit_gb: float,
    progress: Progress = no_progress,
) -> None:
    """Write each entry to its place.

    Args:
        archive: open for reading.
        places: for each file to write, the entry that it comes from.
        limit_gb: most that the entries may declare together, in 10⁹ bytes; an entry never yields more than it declares.
        progress: told of the images.

    Raises:
        DownloadError: more than `limit_gb`; nothing is written then.
        StorageError: no space or no permission.
    """
    total_gb = sum(entry.file_size for entry in places.values()) / 1e9
    if total_gb > limit_gb:
        raise DownloadError(f"{archive.filename} unpacks to {total_gb:.1f} GB, more than the {limit_gb:g} GB allowed")
    for done, (place, entry) in enumerate(places.items(), start=1):
        try:
            _write(archive, entry, place)
        except OSError as error:
            raise StorageError(
                f"cannot unpack {place}: {error.strerror or error}; the set needs {total_gb:.1f} GB: "
                "free space or choose another folder"
            ) from error
        progress("unpacking", done, len(places))


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, place.open("xb") as file:
        while piece := packed.read(_CHUNK_BYTES):
            file.write(piece)
