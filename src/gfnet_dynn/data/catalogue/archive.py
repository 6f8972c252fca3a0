"""Fetches one archive from the Hugging Face hub and unpacks its images.

A download is resumed after an interruption and used only with the right checksum; neither `hf_hub_download` nor pooch
resumes: both discard what an interrupted download has brought. The archive may be hostile: nothing is unpacked outside
the target, no links, and no more than a limit on the size.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gfnet_dynn.data.catalogue.configs import Archive
from gfnet_dynn.errors import DownloadError, MissingExtraError, StorageError
from gfnet_dynn.images.files import is_image_name
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.system.storage import require_writable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def fetch_archive(
    archive: Archive, folder: Path, *, endpoint: str | None = None, on_progress: OnProgress = ignore_progress
) -> Path:
    """Fetch `archive` into `folder` unless it is there, also by hand, and return its path, the checksum verified.

    An unfinished download stays in `folder` as a `.part` file, and the next call fetches only the rest. `endpoint` and
    `on_progress` as for `download_dataset`.

    Raises:
        DownloadError: the hub does not answer or has no such file, or the checksum is wrong.
        MissingExtraError: the hub's client is not installed.
        StorageError: `folder` cannot be written.
    """
    path = folder / archive.file
    if path.is_file():
        _verify(path, archive, "remove it")
        return path
    require_writable(folder)
    unfinished = folder / f"{archive.file}.{archive.sha256[:12]}.part"
    _transfer(archive, unfinished, endpoint, on_progress)
    try:
        _verify(unfinished, archive, "the file was removed")
    except DownloadError:
        unfinished.unlink()
        raise
    return unfinished.replace(path)


def _verify(path: Path, archive: Archive, advice: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.sha256:
        raise DownloadError(
            f"{path} has the SHA-256 {found} instead of {archive.sha256}: {advice}, and run the command again"
        )


def _transfer(archive: Archive, unfinished: Path, endpoint: str | None, on_progress: OnProgress) -> None:
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415 # of an extra
        from huggingface_hub.file_download import http_get  # noqa: PLC0415 # of an extra
        from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415 # of an extra
    except ImportError as error:
        raise MissingExtraError("downloading", "train") from error
    url = hf_hub_url(
        archive.repository, archive.file, repo_type="dataset", revision=archive.revision, endpoint=endpoint
    )
    try:
        remote = get_hf_file_metadata(url, token=False)
        title = f"Fetching {archive.file}"
        with _CountedFile(unfinished, title, remote.size or 0, on_progress) as file, disable_progress_bars():
            done = file.resume_from(remote.size)
            if done != remote.size:
                # Uncompressed, because a server that compresses on the fly ignores the range.
                headers = {"Accept-Encoding": "identity"}
                http_get(remote.location, file, resume_size=done, headers=headers, expected_size=remote.size)
    except Exception as error:  # the client's network errors have no common type across its versions
        raise DownloadError(_failure(archive, unfinished, url, error)) from error


def _failure(archive: Archive, unfinished: Path, url: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    have_mb = unfinished.stat().st_size / 1e6 if unfinished.is_file() else 0.0
    kept = f"{have_mb:.1f} MB are kept, and the same command continues" if have_mb else "nothing was fetched"
    return (
        f"cannot fetch {archive.file} from {url}: {reason}; {kept}. Check the network and the free space, or put the "
        f"file at {unfinished.with_name(archive.file)} yourself and run the command again"
    )


class _CountedFile(io.BufferedWriter):
    """The unfinished archive, open at its end; it reports its length as it grows."""

    def __init__(self, path: Path, title: str, total: int, on_progress: OnProgress) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._title, self._total, self._on_progress = title, total, on_progress

    def write(self, piece: ReadableBuffer) -> int:
        written = super().write(piece)
        self._on_progress(self._title, self.tell(), self._total)
        return written

    def resume_from(self, size: int | None) -> int:
        """Bytes to keep: all there are, or none where they cannot be the beginning of a file of `size` bytes."""
        if size is None or self.tell() > size:
            self.seek(0)
            self.truncate()
        return self.tell()


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
