"""Images for calibration, unknown to the network: a folder for each class, or one folder without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.errors import CalibrationError, ImageError, nearest
from gfnet_dynn.images.copies import group_copies
from gfnet_dynn.images.files import find_classes, find_images
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.fit import decode_options
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.wording import some


@dataclass(frozen=True)
class CalibrationImages:
    """Image files, with their classes where they are known."""

    files: tuple[Path, ...]  # [N], in the order of their names
    labels: npt.NDArray[np.int64] | None  # class indices of the bundle, [N]
    sha256: str  # over the labels and the fingerprints of all images; it identifies the data


def find_calibration_images(
    folder: Path,
    bundle: Bundle,
    *,
    need_labels: bool = True,
    on_step: OnStep = ignore_steps,
    decode: DecodeOptions = DEFAULT,
) -> CalibrationImages:
    """The images below a folder; without labels if none of its folders is named as a class of the bundle.

    Raises CalibrationError: no such folder, a folder that is no class, a class without images, copies of one image, or
    of one that the network was trained or selected on; BundleError: the record of the training images is damaged;
    ImageError: a file cannot be decoded; DataError: a folder cannot be read.
    """
    if not folder.is_dir():
        raise CalibrationError(f"no folder {folder}: give one with a folder of images for each class")
    by_folder = {name: found.images for name, found in find_classes(folder).items() if found.images}
    files, labels = tuple(file for images in by_folder.values() for file in images), None
    if problem := _unlabelled(folder, by_folder, bundle.manifest.classes):
        files = find_images(folder).images
        if need_labels or not files or set(by_folder) & set(bundle.manifest.classes):
            raise CalibrationError(problem)
    else:
        index = {name: position for position, name in enumerate(bundle.manifest.classes)}
        labels = np.array([index[name] for name, images in by_folder.items() for _ in images], np.int64)
    fingerprints, unreadable = fingerprint_files(files, on_step, decode_options(bundle.manifest.input, decode))
    for reason in unreadable.values():
        raise ImageError(reason)
    packed = b"".join(fingerprints.values())
    _require_new(files, packed, bundle)
    identity = hashlib.sha256(packed if labels is None else labels.tobytes() + packed)
    return CalibrationImages(files, labels, identity.hexdigest())


def _unlabelled(folder: Path, by_folder: Mapping[str, Sequence[Path]], classes: Sequence[str]) -> str | None:
    """Why the folders inside are not the classes; None where they are."""
    if unknown := [name for name in by_folder if name not in classes]:
        return (
            f"{folder / unknown[0]} is no class of the network: {nearest(unknown[0], classes)}; name the "
            "folders as the classes"
        )
    if missing := [name for name in classes if name not in by_folder]:
        return (
            f"{folder} has no images of {some(missing)}: a guarantee holds for images like the calibration images, so "
            "every class must be present, in about its usual share"
        )
    return None


def _require_new(files: Sequence[Path], fingerprints: bytes, bundle: Bundle) -> None:
    """No copies, as one image would count as two, and nothing that the network has seen."""
    if groups := group_copies(fingerprints):
        twins = [str(files[index]) for index in groups[0]]
        raise CalibrationError(
            f"{sum(map(len, groups))} files show the same image as another, such as {some(twins)}: give each once"
        )
    if known := bundle.find_learned(files, fingerprints):
        raise CalibrationError(
            f"the network was trained or selected on {len(known)} of the {len(files)} images, such as {known[0]}: "
            "it is more accurate on them than on others, so nothing can be guaranteed; give images that it has not seen"
        )
