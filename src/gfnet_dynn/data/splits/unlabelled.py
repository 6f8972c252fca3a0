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
    """The images below a folder, whatever its sub-folders are called.

    Attributes:
        files: absolute paths, each with `UNLABELLED`.
        skipped: files skipped, each with the reason.
        fingerprints: of the images used, in order.
    """

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
    """List the images below a folder and decode each once.

    Args:
        root: folder.
        on_bad_image: `refuse`, or `skip` to omit files that cannot be decoded.
        progress: called with (files decoded, files in all).
        decode: how they are decoded.

    Raises:
        DataError: no such folder, no images in it, or files that cannot be decoded.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} of unlabelled images: check --unlabelled")
    found = find_images(root)
    fingerprints, unreadable = fingerprint_files(found.images, progress, decode)
    skipped = {path.relative_to(root).as_posix(): reason for path, reason in unreadable.items()}
    if skipped and on_bad_image == "refuse":
        refuse_unreadable(skipped)
    if not fingerprints:
        raise DataError(f"no usable images: {no_images(root, found.skipped)}; check --unlabelled")
    files = tuple((str(path.resolve()), UNLABELLED) for path in fingerprints)
    return UnlabelledImages(files, skipped, b"".join(fingerprints.values()))


def require_unseen(unlabelled: UnlabelledImages, root: Path, split: Split) -> None:
    """Refuse copies of images that are to be selected or reported on.

    Args:
        unlabelled: to learn from.
        root: folder of the data set.
        split: copies of its held-out parts must not be among them.

    Raises:
        DataError: names one that is.
    """
    if copies := held_out_copies(split, LearnedFrom(unlabelled.fingerprints, b"")):
        raise DataError(
            f"{len(copies)} of the held-out images, such as {root / copies[0][0]}, have a copy under --unlabelled: a "
            "student that learned from it could not be evaluated on it; remove the copies, or choose another folder"
        )
