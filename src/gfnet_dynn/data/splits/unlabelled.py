"""Images without labels, from which a student learns what its teacher sees in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.data.splits.split import UNLABELLED, Files, Progress, Split, find_unreadable, refuse_unreadable
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import find_images, no_images


@dataclass(frozen=True)
class UnlabelledImages:
    """The images below a folder, whatever its sub-folders are called.

    Attributes:
        files: absolute paths, each with `UNLABELLED`.
        skipped: files left out, each with the reason.
        fingerprint: SHA-256 over the relative paths and sizes of the images used.
    """

    files: Files
    skipped: dict[str, str]
    fingerprint: str


def find_unlabelled(root: Path, on_bad_image: str, progress: Progress | None = None) -> UnlabelledImages:
    """List the images below a folder and decode each once.

    Args:
        root: folder.
        on_bad_image: `refuse`, or `skip` to leave out files that cannot be decoded.
        progress: called with (files decoded, files in all).

    Raises:
        DataError: no such folder, no images in it, or files that cannot be decoded.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} of unlabelled images: check --unlabelled")
    found = find_images(root)
    paths = [path.relative_to(root).as_posix() for path in found.images]
    skipped = find_unreadable(root, paths, progress)
    if skipped and on_bad_image == "refuse":
        refuse_unreadable(skipped)
    usable = [path for path in paths if path not in skipped]
    if not usable:
        raise DataError(f"no usable images: {no_images(root, found.skipped)}; check --unlabelled")
    digest = hashlib.sha256()
    for path in usable:
        digest.update(f"{path} {(root / path).stat().st_size}\n".encode(errors="surrogateescape"))
    files = tuple((str((root / path).resolve()), UNLABELLED) for path in usable)
    return UnlabelledImages(files, skipped, digest.hexdigest())


def require_unseen(unlabelled: UnlabelledImages, root: Path, split: Split) -> None:
    """Refuse images that are to be selected or reported on, by path or by content.

    Args:
        unlabelled: to learn from.
        root: folder of the data set.
        split: its held-out parts must not be among them.

    Raises:
        DataError: names one that is.
    """
    by_size: dict[int, list[Path]] = {}
    for path in (root / held_out for held_out in split.held_out):
        by_size.setdefault(path.stat().st_size, []).append(path)
    for name, _ in unlabelled.files:
        path = Path(name)
        for other in by_size.get(path.stat().st_size, ()):
            if path.read_bytes() == other.read_bytes():
                raise DataError(
                    f"{path} is one of the images that are held out ({other}): a student that learned from it could "
                    "not be judged by it; choose another --unlabelled folder"
                )
