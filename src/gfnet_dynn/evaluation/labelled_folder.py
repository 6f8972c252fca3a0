"""Images in class folders, to evaluate a bundle on. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.errors import DataError, ImageError, nearest
from gfnet_dynn.images.files import find_classes
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.fit import decode_options, load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep
from gfnet_dynn.runtime.segments import AllExits, SegmentedNet
from gfnet_dynn.wording import counted, some

_BATCH = 16

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LabelledFolder:
    """Image files [N], their class indices of the bundle [N], and remarks on what was omitted or has no images."""

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    remarks: tuple[str, ...]


def find_labelled(folder: Path, classes: tuple[str, ...]) -> LabelledFolder:
    """The images below a folder, each in the folder of its class; other folders are omitted, with a remark.

    Raises DataError if there is no such folder, or no image of any class.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give one with a folder of images for each class")
    found = {name: files.images for name, files in find_classes(folder).items()}
    known = {name: files for name, files in found.items() if name in classes and files}
    if not known:
        raise DataError(
            f"{folder} has no images in folders named as the network's classes: {_hint(folder, found, classes)}"
        )
    remarks = []
    if unknown := [name for name, files in found.items() if name not in classes and files]:
        images = counted(sum(len(found[name]) for name in unknown), "image")
        remarks.append(f"Omitted, no class of the network: {some(unknown)} ({images}).")
    if missing := [name for name in classes if name not in known]:
        remarks.append(f"Without images, so not evaluated: {some(missing)}.")
    files = tuple(file for each in known.values() for file in each)
    labels = np.array([classes.index(name) for name, each in known.items() for _ in each], np.int64)
    return LabelledFolder(files, labels, tuple(remarks))


def _hint(folder: Path, found: Mapping[str, Sequence[Path]], classes: tuple[str, ...]) -> str:
    above = [str(folder / name) for name, files in found.items() if any(file.parent.name in classes for file in files)]
    if above:
        return f"did you mean {' or '.join(above)}?"
    return f"it has {some(list(found))}; {nearest(next(iter(found)), classes)}" if found else "it has no folders"


def seen_in_training(
    bundle: Bundle, files: tuple[Path, ...], on_step: OnStep, decode: DecodeOptions = DEFAULT
) -> str | None:
    """A warning where the network was trained or selected on some of the images, or copies of them.

    Files that cannot be decoded are omitted. Raises BundleError if the record of the training images is damaged.
    """
    if bundle.manifest.learned_from is None:
        return "Which images the network was trained on is not known: accuracy on those is too high."
    found, _ = fingerprint_files(files, on_step, decode_options(bundle.manifest.input, decode))
    again = bundle.find_learned(list(found), b"".join(found.values()))
    if not again:
        return None
    return (
        f"WARNING: the network was trained or selected on {len(again)} of these {len(files)} images; its accuracy on "
        "new images is lower than these figures."
    )


def collect_exits(
    nets: Mapping[str, SegmentedNet],
    files: Sequence[Path],
    on_step: OnStep,
    decode: DecodeOptions = DEFAULT,
    omit: Callable[[ImageError], None] | None = None,
) -> tuple[dict[str, AllExits], list[int]]:
    """Run one or more networks of the same input on image files: the outputs of all exits, by network.

    Also returns which of the files could be decoded, by index. `omit` is called with the error of each other one; by
    default it is raised. Raises DataError if none can be decoded.
    """
    found: dict[str, list[AllExits]] = {name: [] for name in nets}
    rows: list[int] = []
    for start in range(0, len(files), _BATCH):
        stop, pixels = min(start + _BATCH, len(files)), []
        for row in range(start, stop):
            try:
                pixels.append(load_input(files[row], next(iter(nets.values())).manifest.input, decode))
                rows.append(row)
            except ImageError as error:
                if omit is None:
                    raise
                omit(error)
        for name, net in nets.items() if pixels else ():
            found[name].append(net.all_exits(np.stack(pixels)))
        on_step(stop, len(files))
    if not rows:
        raise DataError(f"none of the {len(files)} images can be decoded, such as {files[0]}")
    return {name: AllExits.joined(parts) for name, parts in found.items()}, rows
