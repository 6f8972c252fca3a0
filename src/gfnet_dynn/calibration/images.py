"""Labelled images for calibration: a folder for each class, none of them known to the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.learned_from import find_learned
from gfnet_dynn.errors import CalibrationError, ImageError, nearest
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.decode import DEFAULT, DecodeOptions
from gfnet_dynn.images.files import find_classes
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.fit import decode_options

Told = Callable[[int, int], None]

_NAMED = 4  # of many, as examples in a message


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with their classes.

    Attributes:
        files: [N], in the order of their names.
        labels: class indices of the bundle, [N].
        sha256: over the labels and the fingerprints of all images; it identifies the data.
        skipped: files of other formats among them.
    """

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    sha256: str
    skipped: tuple[Path, ...] = ()


def find_labelled(folder: Path, bundle: Bundle, told: Told, decode: DecodeOptions = DEFAULT) -> LabelledFiles:
    """The images below a folder, each in the folder of its class.

    Args:
        folder: holds one folder for each class.
        bundle: whose classes they are.
        told: of the number of files decoded, and of all.
        decode: how they are decoded.

    Raises:
        CalibrationError: no such folder, a folder that is no class, a class without images, copies of one image, or of
            one that the network was trained or selected on.
        BundleError: the record of what the network learned from is damaged.
        ImageError: a file cannot be decoded.
        DataError: a folder cannot be read.
    """
    if not folder.is_dir():
        raise CalibrationError(f"no folder {folder}: give one that holds a folder of images for each class")
    classes = bundle.manifest.classes
    index = {name: position for position, name in enumerate(classes)}
    below = find_classes(folder)
    skipped = tuple(file for each in below.values() for file in each.skipped)
    found = {name: each.images for name, each in below.items() if each.images}
    if strange := [name for name in found if name not in index]:
        raise CalibrationError(
            f"{folder / strange[0]} is no class of the network: {nearest(strange[0], classes)}; its folders must be "
            "named as the classes are"
        )
    if missing := [name for name in classes if name not in found]:
        raise CalibrationError(
            f"{folder} has no images of {_some(missing)}: a guarantee holds for images as those it was made on, so every "
            "class must be there, in about the share in which it will come"
        )
    files = tuple(file for name in sorted(found) for file in found[name])
    labels = np.array([index[file.relative_to(folder).parts[0]] for file in files], np.int64)
    fingerprints, unreadable = fingerprint_files(files, told, decode_options(bundle.manifest.input, decode))
    for reason in unreadable.values():
        raise ImageError(reason)
    packed = b"".join(fingerprints.values())
    _require_new(files, packed, bundle)
    return LabelledFiles(files, labels, hashlib.sha256(labels.tobytes() + packed).hexdigest(), skipped)


def _require_new(files: tuple[Path, ...], fingerprints: bytes, bundle: Bundle) -> None:
    """No copies, as one image would count as two, and nothing that the network has learned from."""
    if groups := group_copies(fingerprints):
        copies = [str(files[index]) for index in groups[0]]
        raise CalibrationError(
            f"{sum(map(len, groups))} files hold an image that another one holds too, such as {_some(copies)}: give "
            "each once"
        )
    if known := find_learned(bundle, files, fingerprints):
        raise CalibrationError(
            f"the network was trained or selected on {len(known)} of the {len(files)} images, such as {known[0]}: on "
            "those it is better than on others, so nothing could be guaranteed; give images that it has not seen"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
