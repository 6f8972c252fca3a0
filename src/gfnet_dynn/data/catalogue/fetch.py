"""One archive from the Hugging Face hub to a folder: resumed where it was interrupted, trusted only after its hash."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gfnet_dynn.data.catalogue.registry import Archive
from gfnet_dynn.errors import DownloadError, MissingExtraError
from gfnet_dynn.system.storage import require_writable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is: bytes or, for unpacking, images."""

_CHUNK_BYTES = 1 << 20


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def fetch_archive(
    archive: Archive, folder: Path, *, endpoint: str | None = None, progress: Progress = no_progress
) -> Path:
    """Bring `archive` into `folder`, or find it there.

    What has come of an unfinished download stays in `folder` as a `.part` file, and the next call asks the hub only for
    the rest. An archive that lies there already, also one put there by hand, is used when its hash is right.

    Args:
        archive: what to fetch.
        folder: where archives are kept.
        endpoint: address of the hub; None takes the client's own setting.
        progress: told of the bytes.

    Returns:
        The path of the archive, its hash verified.

    Raises:
        DownloadError: the hub does not answer or has no such file, or the hash is wrong (the file is then removed).
        MissingExtraError: the hub's client is not installed.
        StorageError: nothing can be written into `folder`.
    """
    path = folder / archive.file
    if path.is_file():
        _verify(path, archive, progress, ours=False)
        return path
    require_writable(folder)
    unfinished = folder / f"{archive.file}.{archive.sha256[:12]}.part"
    _transfer(archive, unfinished, endpoint, progress)
    _verify(unfinished, archive, progress, ours=True)
    return unfinished.replace(path)


def sha256_of(path: Path, progress: Progress = no_progress) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces of 1 MiB."""
    total, done = path.stat().st_size, 0
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            done += len(piece)
            progress(f"verifying {path.name}", done, total)
    return digest.hexdigest()


def _verify(path: Path, archive: Archive, progress: Progress, *, ours: bool) -> None:
    found = sha256_of(path, progress)
    if found == archive.sha256:
        return
    if ours:
        path.unlink()
        fate = "the file was removed"
    else:  # somebody put it there; it is not ours to delete
        fate = f"the file is now {path.replace(path.with_name(f'{path.name}.wrong'))}"
    raise DownloadError(
        f"{archive.file} from {archive.repository} has the SHA-256 {found} but {archive.sha256} was expected; "
        f"{fate}: run the command again to fetch it anew"
    )


def _transfer(archive: Archive, unfinished: Path, endpoint: str | None, progress: Progress) -> None:
    # hf_hub_download throws away what it has when it is interrupted, so the client's own steps are used one by one.
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415
        from huggingface_hub.file_download import http_get  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("downloading", "train") from error
    url = hf_hub_url(
        archive.repository, archive.file, repo_type="dataset", revision=archive.revision, endpoint=endpoint
    )
    try:
        remote = get_hf_file_metadata(url, token=False)
        with _CountedFile(unfinished, f"fetching {archive.file}", remote.size or 0, progress) as file, _no_second_bar():
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
    kept = f"{have_mb:.1f} MB are kept and the same command goes on from there" if have_mb else "nothing was fetched"
    return (
        f"cannot fetch {archive.file} from {url}: {reason}; {kept}. Check the network and the free space, or put the "
        f"file at {unfinished.with_name(archive.file)} by hand and run the command again"
    )


class _CountedFile(io.BufferedWriter):
    """The unfinished archive, open at its end; it reports its length as it grows."""

    def __init__(self, path: Path, stage: str, total: int, progress: Progress) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._stage, self._total, self._progress = stage, total, progress

    def write(self, piece: ReadableBuffer) -> int:
        written = super().write(piece)
        self._progress(self._stage, self.tell(), self._total)
        return written

    def resume_from(self, size: int | None) -> int:
        """Bytes to keep: all there are, or none where they cannot be the beginning of a file of `size` bytes."""
        if size is None or self.tell() > size:
            self.seek(0)
            self.truncate()
        return self.tell()


@contextmanager
def _no_second_bar() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (  # noqa: PLC0415
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
