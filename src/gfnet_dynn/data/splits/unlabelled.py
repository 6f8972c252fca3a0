"""Images without labels, from which a student learns what its teacher sees in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.data.learned_from import LearnedFrom, held_out_copies
from gfnet_dynn.data.splits.split import UNLABELLED, Files, Split, refuse_unreadable
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import find_images, no_images
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps


@dataclass(frozen=True)
class UnlabelledImages:
    """The images below a folder: absolute paths with `UNLABELLED`, files skipped with the reason, and fingerprints."""

    files: Files
    skipped: dict[str, str]
    fingerprints: bytes

    @property
    def sha256(self) -> str:
        """Of all fingerprints; it identifies the images."""
        return hashlib.sha256(self.fingerprints).hexdigest()


def find_unlabelled(
    root: Path, on_bad_image: str, progress: OnStep = ignore_steps, decode: DecodeOptions = DEFAULT
) -> UnlabelledImages:
    """List the images below a folder and decode each once, refusing or skipping those that cannot be decoded.

    Raises:
        DataError: no such folder, no images in it, or files that cannot be decoded.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} of unlabelled images: check --unlabelled")
    found = find_images(root)
    fingerprints, unreadable = fingerprint_files(found.images, progress, decode)
    skipped = {path.relative_to(root).as_posix(): reason for path, reason in unreadable.items()}
    refuse_unreadable(skipped, on_bad_image)
    if not fingerprints:
        raise DataError(f"no usable images: {no_images(root, found.skipped)}; check --unlabelled")
    files = tuple((str(path.resolve()), UNLABELLED) for path in fingerprints)
    return UnlabelledImages(files, skipped, b"".join(fingerprints.values()))


def require_unseen(unlabelled: UnlabelledImages, root: Path, split: Split) -> None:
    """Refuse copies of images that the split holds out, with a DataError that names one."""
    if copies := held_out_copies(split, LearnedFrom(unlabelled.fingerprints, b"")):
        raise DataError(
            f"{len(copies)} of the held-out images, such as {root / copies[0][0]}, have a copy under --unlabelled: a "
            "student that learned from it could not be evaluated on it; remove the copies, or choose another folder"
        )
