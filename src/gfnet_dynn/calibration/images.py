"""Labelled images for calibration: a folder for each class, none of them known to the network."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.learned_from import digests, unpack
from gfnet_dynn.errors import BundleError, CalibrationError, nearest
from gfnet_dynn.images.files import find_classes

Told = Callable[[int, int], None]

_NAMED = 4  # of many, as examples in a message


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with their classes.

    Attributes:
        files: [N], in the order of their names.
        labels: class indices of the bundle, [N].
        sha256: over the labels and the contents of all files; it identifies the data.
        skipped: files of other formats among them.
    """

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    sha256: str
    skipped: tuple[Path, ...] = ()


def find_labelled(folder: Path, bundle: Bundle, told: Told) -> LabelledFiles:
    """The images below a folder, each in the folder of its class.

    Args:
        folder: holds one folder for each class.
        bundle: whose classes they are.
        told: of the number of files read, and of all.

    Raises:
        CalibrationError: no such folder, a folder that is no class, a class without images, an image twice, or one that
            the network was trained or selected on.
        BundleError: what the network learned from cannot be told.
        DataError: a file or folder cannot be read.
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
    contents = digests(files, lambda done: told(done, len(files)))
    _require_new(files, contents, bundle)
    sha256 = hashlib.sha256(b"".join((labels.tobytes(), *contents))).hexdigest()
    return LabelledFiles(files, labels, sha256, skipped)


def _require_new(files: tuple[Path, ...], contents: list[bytes], bundle: Bundle) -> None:
    """Nothing twice, as one image would count as two, and nothing that the network has seen."""
    times = Counter(contents)
    if again := [content for content in contents if times[content] > 1]:
        twins = [str(file) for file, content in zip(files, contents, strict=True) if content == again[0]]
        raise CalibrationError(
            f"{len(again)} files hold an image that another one holds too, such as {_some(twins)}: give each once"
        )
    if bundle.manifest.learned_from is None:
        return
    packed = bundle.read(bundle.manifest.learned_from)
    try:
        seen = unpack(packed)
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {error}") from error
    if known := [str(file) for file, content in zip(files, contents, strict=True) if content in seen]:
        raise CalibrationError(
            f"the network was trained or selected on {len(known)} of the {len(files)} images, such as {known[0]}: on "
            "those it is better than on others, so nothing could be guaranteed; give images that it has not seen"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
