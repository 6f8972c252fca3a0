"""Image files in one folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import DataError
from gfnet_dynn.image import SUFFIXES
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
    """List the images of `root/CLASS/**`; hidden files and other file types are passed over.

    Raises:
        DataError: no such folder, no class folders, or a class without images.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; change its permissions") from error


def _scan(root: Path) -> ClassFolders:
    if not root.is_dir():
        hint = parent_hint(root.parent, root.name)
        raise DataError(f"no folder {root}: expected one sub-folder of images for each class there{hint}")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{root} has no sub-folders: expected one folder of images for each class")
    files: list[tuple[str, int]] = []
    for index, name in enumerate(classes):
        found = images_below(root, root / name)
        if not found:
            raise DataError(
                f"the class folder {root / name} has no images ({', '.join(sorted(SUFFIXES))}): fill it or remove it"
            )
        files.extend((path, index) for path in found)
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


def images_below(root: Path, folder: Path) -> list[str]:
    """Paths relative to `root` (POSIX) of the images in `folder` and below it, sorted; hidden files are passed over."""
    next(folder.iterdir(), None)  # rglob passes over a folder that it may not read, without a word
    return sorted(
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


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
