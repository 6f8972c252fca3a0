"""Where a data set lies and what it is: known by name, or found in a folder. No torch."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset
from gfnet_dynn.data.folders import scan_folders
from gfnet_dynn.data.request import DataOptions
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.wording import counted

SYNTHETIC = "SyntheticScenes"

PART_FOLDERS: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Usual names of the folders of a data set that is split already, whatever their case."""

_IMAGES_MEASURED = 200
_SIZE_STEP = 32  # pixels; every model takes a multiple of it
_SIDES = (64, 256)  # smallest and largest input that is chosen without being asked for


@dataclass(frozen=True)
class Source:
    """Where a data set lies and what it is: folders, classes, default input, and how images are decoded."""

    name: str
    config: DatasetConfig
    root: Path
    decode: DecodeOptions = DEFAULT

    def input_size(self, options: DataOptions) -> int:
        """Side of the input in pixels: as asked, otherwise that of the images, within the limit."""
        if options.input_size is not None:
            return options.input_size
        return min(self.config.default_input_size, options.largest_input_size or self.config.default_input_size)


def locate(options: DataOptions, on_progress: OnProgress) -> Source:
    """Find a data set by a known name, a folder, or both; the embedded one is generated where it is not there yet.

    Raises:
        DataError: unknown name, no folder, or a folder that holds no data set.
    """
    if options.data_set is None:
        if options.data_path is None:
            raise DataError("no data set: give its folder, or the name of a known one with --data-set")
        return find_in_folder(options.data_path)
    proper, config = find_dataset(options.data_set, options.dataset_config)
    if options.data_path is not None:
        return Source(proper, config, options.data_path)
    if config.default_data_path is None:
        raise DataError(f"the data set {proper} has no default path: give its folder with --data-path")
    root = Path(config.default_data_path)
    if proper == SYNTHETIC:
        write_synthetic(root, on_step=partial(on_progress, "Generating SyntheticScenes"))
    return Source(proper, config, root)


def find_in_folder(root: Path) -> Source:
    """The data set in a folder, known by the names of its sub-folders.

    Either one folder of images for each class, which are then split at random, or the folders of `PART_FOLDERS`, each
    with one folder for each class. A DataError where there is no such folder, or no class folders are in it.
    """
    names = _folders(root)
    parts = {
        part: found[0]
        for part, usual in PART_FOLDERS.items()
        if (found := [name for name in names if name.casefold() in usual and _folders(root / name)])
    }
    if not parts:
        _require_class_folders(root, names)
    elif "train" not in parts:
        raise DataError(f"{root} has a folder {next(iter(parts.values()))} but none called train: rename or add it")
    train = parts.get("train", ".")
    reported = parts.get("val") or parts.get("test")
    scan = scan_folders(root / train)
    if len(scan.classes) < 2:
        raise DataError(
            f"{scan.root} has one class folder ({scan.classes[0]}): a classifier needs at least two classes"
        )
    return Source(
        root.resolve().name or "scenes",
        DatasetConfig(
            num_classes=len(scan.classes),
            default_input_size=_usual_side([scan.root / path for path, _ in scan.files]),
            train_folder=train,
            val_folder=reported or train,
            use_random_split=reported is None,
            test_folder=parts.get("test") if "val" in parts else None,
        ),
        root,
    )


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except FileNotFoundError as error:
        raise DataError(f"no folder {folder}: give the folder of a data set") from error
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error


def _require_class_folders(root: Path, names: Sequence[str]) -> None:
    """Point at the folder below, where that has the class folders, as in many an unpacked archive."""
    deeper = [name for name in names if len(_folders(root / name)) > 1]
    if names and (len(names) > 1 or not deeper):
        return
    hint = f"; did you mean {root / deeper[0]}?" if deeper else ""
    expected = "one folder of images for each class, or the folders train and val with such folders in them"
    raise DataError(f"{root} has no class folders: expected {expected}{hint}")


def _usual_side(files: Sequence[Path]) -> int:
    """The commonest length of the shorter side, as a size that every model takes; read from the headers of some."""
    sides: Counter[int] = Counter()
    for path in files[:: max(1, len(files) // _IMAGES_MEASURED)]:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
                sides[min(image.size)] += 1
        except Exception:  # whatever Pillow raises; the split names unreadable images
            continue
    if not sides:
        raise DataError(f"none of {counted(len(files), 'image')} below {files[0].parent.parent} can be read")
    (side, _), *_ = sides.most_common(1)
    return min(max(-(-side // _SIZE_STEP) * _SIZE_STEP, _SIDES[0]), _SIDES[1])
