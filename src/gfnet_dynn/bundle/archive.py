"""Bundles as files: a zip archive whose members are stored, not compressed, each under its SHA-256.

Nothing is ever unpacked to disk, so no name in an archive can lead anywhere; what is not compressed can be no bomb.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from gfnet_dynn.bundle.manifest import Manifest, StoredFile
from gfnet_dynn.bundle.stac import graph_assets, stac_item
from gfnet_dynn.errors import BundleError
from gfnet_dynn.images.copies import find_copies
from gfnet_dynn.images.fingerprint import BYTES
from gfnet_dynn.system.storage import locked, to_json, write_bytes

MANIFEST = "manifest.json"
STAC = "stac.json"
"""The bundle as a STAC item, for tools that look for one; follows from the manifest, is never read here."""

_LARGEST_MANIFEST = 4 * 1024**2
_LARGEST_STAC = 4 * 1024**2
_LARGEST_DIRECTORY = 1024**2
_END = struct.Struct("<4s8xI4xH")  # of a zip archive: signature, bytes of its directory, bytes of a comment
_LOCATOR = struct.Struct("<4s16x")  # stands before it where the directory is described a second time, for 64 bits
_ENCRYPTED = 0x1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bundle is the same file, whenever it is written


_DAMAGED = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, OSError, ValueError, OverflowError),
    RuntimeError,  # as which zipfile reports what it has no way to read
    KeyError,  # a file that was there when the bundle was opened
)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk. Its graphs are read, and held against their hashes, when they are asked for.

    The SHA-256 of the manifest covers, through the hashes in it, all files: it identifies the bundle.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def segments(self, precision: str) -> Iterator[bytes]:
        """The graph of each segment, G + 1 of them, one after the other.

        Raises BundleError: the bundle has no such precision, or a graph is not what was exported.
        """
        if precision not in self.manifest.precisions:
            known = ", ".join(self.manifest.precisions)
            raise BundleError(f"{self.path} has no segments in {precision}; it has {known}")
        return map(self.read, self.manifest.precisions[precision])

    def read(self, name: str) -> bytes:
        """The content of one file; raises BundleError: it is not what was exported."""
        with _opened(self.path) as archive:
            _require_plain(archive.getinfo(name), self.path.stat().st_size)
            content = archive.read(name)
            if stored_file(content) != self.manifest.files[name]:
                raise BundleError(f"its {name} is not what was exported (size or SHA-256 differ): copy it anew")
        return content

    def find_learned(self, files: Sequence[Path], fingerprints: bytes) -> list[Path]:
        """The files that are copies of images that the network was trained or selected on, by their fingerprints.

        None are where the bundle has no record of those images. Raises BundleError: the record is damaged.
        """
        name = self.manifest.learned_from
        if name is None:
            return []
        known = self.read(name)
        if not known or len(known) % BYTES:
            raise BundleError(
                f"{self.path}: its {name} has {len(known)} bytes, not {BYTES} for each image: export it anew"
            )
        copies = find_copies(fingerprints, known) >= 0
        return [file for file, copy in zip(files, copies.tolist(), strict=True) if copy]

    def verify(self) -> None:
        """Read everything, whether or not this device needs it; raises BundleError: a file is not what was exported."""
        for name in self.manifest.files:
            self.read(name)


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Write a bundle (`.gfd`) in one step; raises StorageError: no space or no permission, an older file is intact.

    The manifest's `files` are filled in here; `files` are contents by the names that its precisions use.
    """
    complete = replace(manifest, files={name: stored_file(content) for name, content in files.items()})
    described = msgspec.json.format(to_json(complete.to_dict()), indent=1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST: described, **_stac(complete, described), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return write_bytes(path, buffer.getvalue())


def _stac(manifest: Manifest, described: bytes) -> dict[str, bytes]:
    """The STAC item by its name, or nothing where thousands of classes make it larger than a reader accepts."""
    item = stac_item(manifest, hashlib.sha256(described).hexdigest(), graph_assets(manifest))
    content = msgspec.json.format(to_json(item), indent=1)
    return {STAC: content} if len(content) <= _LARGEST_STAC else {}


def update_bundle(path: Path, change: Callable[[Manifest], Manifest], output: Path | None = None) -> Path:
    """Change what a bundle describes; its graphs stay. Of several processes that do so at once, no change is lost.

    It is read anew once no other process changes it. The result goes to `output`, by default the bundle itself. Raises
    BundleError: missing or damaged, or what `change` raises; StorageError: no space or no permission; the bundle is
    intact.
    """
    read_bundle(path)  # what is no bundle is not locked
    with locked(path):
        bundle = read_bundle(path)
        files = {name: bundle.read(name) for name in bundle.manifest.files}
        return write_bundle(output or path, change(bundle.manifest), files)


def stored_file(content: bytes) -> StoredFile:
    """Size and hash of a file's content."""
    return StoredFile(len(content), hashlib.sha256(content).hexdigest())


def read_bundle(path: Path) -> Bundle:
    """Read what a bundle says of itself, and check that it holds what it should.

    Raises BundleError: missing, damaged, of another version, or unsafe.
    """
    with _opened(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) != len(names):
            raise BundleError("it holds two files of one name: export it anew")
        if MANIFEST not in names:
            raise BundleError("it has no manifest: it is another kind of archive, or damaged")
        archive_bytes = path.stat().st_size
        for member in members:
            _require_plain(member, archive_bytes)
        if sum(member.file_size for member in members) > archive_bytes:
            raise BundleError("its files overlap, as no export writes them")
        if archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
            raise BundleError("its manifest is larger than any that export writes")
        if STAC in names and archive.getinfo(STAC).file_size > _LARGEST_STAC:
            raise BundleError(f"its {STAC} is larger than any that export writes")
        described = archive.read(MANIFEST)
        manifest = Manifest.from_json(described)
        _require_same({member.filename: member.file_size for member in members}, manifest)
    return Bundle(path, manifest, hashlib.sha256(described).hexdigest())


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`; whatever goes wrong inside is raised as a fault of this bundle."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise IsADirectoryError  # or a pipe or device, which may never end
        _require_short_directory(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (FileNotFoundError, IsADirectoryError) as error:
        hint = (
            f"`gfnet-dynn export {path} -o scene.gfd` makes one" if path.is_dir() else "`gfnet-dynn export` writes one"
        )
        raise BundleError(f"no bundle at {path}: {hint}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except PermissionError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error
    except _DAMAGED as error:
        raise BundleError(f"{path} is not a bundle, or a damaged one: {error}; copy or export it anew") from error


def _require_short_directory(path: Path) -> None:
    """Refuse a directory that would fill the memory: `zipfile` reads all of it before anything can be checked."""
    with path.open("rb") as file:
        file.seek(-min(_END.size + _LOCATOR.size, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    signature, directory_bytes, comment_bytes = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6" or comment_bytes or tail[: -_END.size].startswith(b"PK\6\7"):
        raise zipfile.BadZipFile("its end is not that of a bundle")
    if directory_bytes > _LARGEST_DIRECTORY:
        raise BundleError(f"its directory is larger than {_LARGEST_DIRECTORY // 1024**2} MB: copy or export it anew")


def _require_plain(member: zipfile.ZipInfo, archive_bytes: int) -> None:
    """Refuse what export never writes: compression, encryption, sizes that cannot be."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
        raise BundleError(f"its {member.filename[:60]!r} is compressed or encrypted, which no file of a bundle is")
    if member.file_size != member.compress_size or member.file_size > archive_bytes:
        raise BundleError(f"its {member.filename[:60]!r} claims a size that it does not have")


def _require_same(found: Mapping[str, int], manifest: Manifest) -> None:
    """The files in the archive are those of the manifest, in name and size."""
    described = {name: file.bytes for name, file in manifest.files.items()}
    if missing := sorted(described.keys() - found.keys()):
        raise BundleError(f"it lacks {', '.join(missing[:4])}: copy or export it anew")
    if further := sorted(found.keys() - described.keys() - {MANIFEST, STAC}):
        raise BundleError(f"it holds {', '.join(name[:60] for name in further[:4])}, which its manifest does not name")
    if differing := sorted(name for name, size in described.items() if found[name] != size):
        raise BundleError(f"its {', '.join(differing[:4])} has another size than its manifest says: copy it anew")
