"""Image files in one folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.images.files import find_classes, no_images
from gfnet_dynn.wording import counted


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images below one folder.

    Attributes:
        root: the folder that holds the class folders.
        classes: folder names, sorted; a class index is a position here.
        files: for each image its path relative to `root` (POSIX) and its class index, sorted by path.
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
    """A question that ends an error message, where not `root` but the folder above it has the folder of a part.

    Args:
        root: given as the data set's folder; without `folder`.
        folder: of a part.
    """
    above = root.resolve().parent
    if not Path(folder).name or not (above / folder).is_dir():  # the former: of a part that is the data set's folder
        return ""
    return f"; did you mean --data-path {above}? It has a folder {folder}"


def require_classes(found: ClassFolders, expected: int, data_set: str) -> None:
    """Check the number of class folders against the data set's configuration.

    Raises:
        DataError: they differ.
    """
    if len(found.classes) != expected:
        shown = ", ".join(found.classes[:6]) + (", …" if len(found.classes) > 6 else "")
        folders = counted(len(found.classes), "class folder")
        raise DataError(
            f"{found.root} has {folders} ({shown}) but {data_set} is configured with "
            f"{expected} classes: check --data-path, or describe your own data set with --dataset-config"
        )
