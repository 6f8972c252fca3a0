"""Unpacks images from a ZIP archive that may be hostile: nothing outside the target, no links, a limit on the size."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from gfnet_dynn.errors import DownloadError, StorageError
from gfnet_dynn.images.files import is_image_name
from gfnet_dynn.progress import OnProgress, ignore_progress

_CHUNK_BYTES = 1 << 20
_MOST_ENTRIES = 200_000  # several times the largest known set; the names of more could fill the memory


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP archive; a DownloadError where it is none, or is damaged or encrypted."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f"cannot unpack {path}: {error}; remove it and run the command again") from error


def list_images(archive: zipfile.ZipFile, images_folder: str) -> dict[str, zipfile.ZipInfo]:
    """The images in `images_folder/CLASS/`, by ``CLASS/file``.

    Raises:
        DownloadError: any entry, also one that would not be unpacked, has a path outside the archive or is a link.
    """
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise DownloadError(f"{archive.filename} has {len(entries)} entries; the limit is {_MOST_ENTRIES}")
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
    outside = ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in entry.orig_filename
    if outside or stat.S_ISLNK(entry.external_attr >> 16):
        kind = "path outside of it" if outside else "link"
        raise DownloadError(f"{archive} has a {kind}, {entry.orig_filename!r}; nothing was unpacked")


def unpack(
    archive: zipfile.ZipFile,
    places: Mapping[Path, zipfile.ZipInfo],
    limit_gb: float,
    on_progress: OnProgress = ignore_progress,
) -> None:
    """Write each entry to its place, unless their declared sizes add up to more than `limit_gb`, in 10⁹ bytes.

    No entry yields more than it declares. `on_progress` is called with images.

    Raises:
        DownloadError: more than `limit_gb`; nothing is written then.
        StorageError: no space or no permission.
    """
    total_gb = sum(entry.file_size for entry in places.values()) / 1e9
    if total_gb > limit_gb:
        raise DownloadError(f"{archive.filename} unpacks to {total_gb:.1f} GB; the limit is {limit_gb:g} GB")
    for done, (place, entry) in enumerate(places.items(), start=1):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as packed, place.open("xb") as file:
                while piece := packed.read(_CHUNK_BYTES):
                    file.write(piece)
        except OSError as error:
            if error.errno is None:  # bz2 reports damage so
                raise zipfile.BadZipFile(str(error)) from error
            raise StorageError(
                f"cannot unpack {place}: {error.strerror or error}; the set needs {total_gb:.1f} GB: "
                "free space or choose another folder"
            ) from error
        on_progress("Unpacking", done, len(places))
