"""Copies of images in a folder for each class."""

from __future__ import annotations

import filecmp
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from gfnet_dynn.errors import OptionError, StorageError
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.system.storage import copy_new, make_folder, remove_abandoned, require_writable

UNKNOWN = "unknown"
"""Folder of the images that the policy takes for unknown."""

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]|^[. ]+|[. ]+$')  # on any file system
_LONGEST = 80  # characters; at most 255 bytes in UTF-8 for nearly all


class ClassFolders:
    """Folders below `root`, made as they are needed. No file is overwritten."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        """Raises StorageError: nothing can be written there."""
        self._root, self._folders = require_writable(root), folder_names(classes)
        self._draft = root / "copy"  # of all copies: to look for abandoned ones in large folders takes long
        remove_abandoned(self._draft)

    def copy(self, prediction: Prediction) -> None:
        """Copy an image into the folder of its class; raises StorageError.

        A file of the same name and content is the copy; another of its name makes it take the name of its folder too,
        then a number.
        """
        source = prediction.source
        assert source is not None, "images from memory have no file to copy"
        name = UNKNOWN if prediction.unknown else self._folders[prediction.label]
        folder = make_folder(self._root / name)
        for target in (folder / each for each in _file_names(source)):
            try:
                if not target.exists():
                    copy_new(source, target, self._draft)
                    return
                if filecmp.cmp(source, target, shallow=False):
                    return
            except FileExistsError:  # by another process, meanwhile
                continue
            except OSError as error:
                raise StorageError(f"cannot copy {source} to {target}: {error.strerror}; free space") from error


def _file_names(source: Path) -> Iterator[str]:
    yield source.name
    if parent := source.absolute().parent.name:
        yield f"{parent}-{source.name}"
    yield from (f"{source.stem}-{number}{source.suffix}" for number in count(2))


def folder_names(classes: Iterable[str]) -> dict[str, str]:
    """For each class the name of a folder that no file system refuses, that leads nowhere else, and is its own."""
    names, taken = {}, {UNKNOWN}
    for label in classes:
        plain = _NOT_IN_NAMES.sub("_", label)[:_LONGEST] or "_"
        candidates = (plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3)))
        names[label] = next(each for each in candidates if each.casefold() not in taken)
        taken.add(names[label].casefold())
    return names


def refuse_inside(root: Path, places: Iterable[Path]) -> None:
    """Refuse to copy into a folder that is read meanwhile; raises OptionError: names both."""
    for place in places:
        if place.is_dir() and root.resolve().is_relative_to(place.resolve()):
            raise OptionError(f"--copy-to {root} lies in {place}, whose images are classified: choose another folder")
