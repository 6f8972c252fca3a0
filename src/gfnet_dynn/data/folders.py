"""Image files in one folder for each class, and a seeded cut of them in two with the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import find_classes, no_images
from gfnet_dynn.wording import counted


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images below `root`, a folder that holds one folder for each class.

    A class index is a position in `classes`, the sorted folder names. `files` has for each image its path relative to
    `root` (POSIX) and its class index, sorted by path.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[tuple[str, int], ...]


def scan_folders(root: Path) -> ClassFolders:
    """List the images of `root/CLASS/**`, as `find_classes` does.

    Raises:
        DataError: no such folder, one that cannot be read, no class folders, or a class without images.
    """
    if not root.is_dir():
        hint = parent_hint(root.parent, root.name)
        raise DataError(f"no folder {root}: expected one sub-folder of images for each class there{hint}")
    classes = find_classes(root)
    if not classes:
        raise DataError(f"{root} has no sub-folders: expected one folder of images for each class")
    files: list[tuple[str, int]] = []
    for index, (name, found) in enumerate(classes.items()):
        if not found.images:
            raise DataError(
                f"{no_images(root / name, found.skipped)}: fill it or remove it, as each folder there is a class"
            )
        files.extend((path.relative_to(root).as_posix(), index) for path in found.images)
    return ClassFolders(root, tuple(classes), tuple(files))


def parent_hint(root: Path, folder: str) -> str:
    """A question that ends an error message, where not `root` but the folder above it has the folder of a part."""
    above = root.resolve().parent
    if not Path(folder).name or not (above / folder).is_dir():  # the former: of a part that is the data set's folder
        return ""
    return f"; did you mean --data-path {above}? It has a folder {folder}"


def require_classes(found: ClassFolders, expected: int, data_set: str) -> None:
    """Check the number of class folders against the data set's configuration: a DataError where they differ."""
    if len(found.classes) != expected:
        shown = ", ".join(found.classes[:6]) + (", …" if len(found.classes) > 6 else "")
        folders = counted(len(found.classes), "class folder")
        raise DataError(
            f"{found.root} has {folders} ({shown}) but {data_set} is configured with "
            f"{expected} classes: check --data-path, or describe your own data set with --dataset-config"
        )


def stratified(
    files: Sequence[tuple[str, int]], classes: Sequence[str], share: float, seed: int
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Cut `files` so that ``round(share * n)`` of the n images of each class come into the first part.

    Files are paths, each with its class index. Each part has at least one image of every class, and is sorted by class
    index and path. The cut depends on the seed and, class by class, on the set of paths: neither the order of `files`
    nor the other classes change it.

    Raises:
        DataError: `share` not between 0 and 1, a negative seed, or a class with a single image.
    """
    if not 0 < share < 1:
        raise DataError(f"cannot cut a data set at {share}: the share must be above 0 and below 1, such as 0.8")
    if seed < 0:
        raise DataError(f"cannot cut a data set with the seed {seed}: it must be 0 or more")
    by_class: dict[int, list[str]] = {}
    for path, index in sorted(files):
        by_class.setdefault(index, []).append(path)
    first: list[tuple[str, int]] = []
    second: list[tuple[str, int]] = []
    for index, paths in sorted(by_class.items()):
        if len(paths) < 2:
            raise DataError(
                f"the class '{classes[index]}' has only one image, {paths[0]}, and two parts need one each: add images "
                "or drop the class"
            )
        size = min(max(round(share * len(paths)), 1), len(paths) - 1)
        taken = set(np.random.default_rng((seed, index)).permutation(len(paths))[:size].tolist())
        for position, path in enumerate(paths):
            (first if position in taken else second).append((path, index))
    return first, second
