"""The data sets that the command line knows by name, and how a user adds one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gfnet_dynn.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """One data set of scene images.

    Attributes:
        num_classes: number of classes; the folders must agree.
        default_input_size: side in pixels where the user names none.
        train_folder: sub-folder with a folder of images for each class; with a random split, the only one.
        val_folder: sub-folder of the images to report on; unused with a random split.
        use_random_split: there is one folder of classes, to be split into train and val.
        default_data_path: where the data lie where the user names no path, or None.
        test_folder: sub-folder of a test set, where there is one; reports are then made on it.
    """

    num_classes: int
    default_input_size: int
    train_folder: str = "train"
    val_folder: str = "val"
    use_random_split: bool = False
    default_data_path: str | None = None
    test_folder: str | None = None


DATASET_CONFIG: dict[str, dict[str, Any]] = {
    "UCM": {
        "num_classes": 21,
        "default_input_size": 256,
        "train_folder": "train",
        "val_folder": "val",
        "use_random_split": False,
        "default_data_path": "data/UCM",
    },
    "NaSC": {
        "num_classes": 10,
        "default_input_size": 128,
        "train_folder": ".",
        "val_folder": ".",
        "use_random_split": True,
        "default_data_path": "data/NaSC",
    },
    "NWPU": {
        "num_classes": 45,
        "default_input_size": 256,
        "train_folder": "train",
        "val_folder": "val",
        "use_random_split": False,
        "default_data_path": "data/NWPU",
    },
    "PatternNet": {
        "num_classes": 38,
        "default_input_size": 256,
        "train_folder": "train",
        "val_folder": "val",
        "use_random_split": False,
        "default_data_path": "data/PatternNet",
    },
    "AID": {
        "num_classes": 30,
        "default_input_size": 600,
        "train_folder": "train",
        "val_folder": "val",
        "use_random_split": False,
        "default_data_path": "data/AID",
    },
    "SyntheticScenes": {
        "num_classes": 10,
        "default_input_size": 64,
        "train_folder": "train",
        "val_folder": "val",
        "use_random_split": False,
        "default_data_path": "runs/data/SyntheticScenes",
    },
}
"""Name → the fields of `DatasetConfig`.

Add an entry here, or the same as a table of a TOML file given with --dataset-config.
"""


def find_dataset(name: str, extra: Path | None = None) -> tuple[str, DatasetConfig]:
    """The configuration of a data set, its name matched whatever the case.

    Args:
        name: as the user wrote it.
        extra: TOML file with one table for each further data set; it wins over the built-in entries.

    Returns:
        The name in its proper spelling, and the configuration.

    Raises:
        DataError: unknown name (the nearest is suggested), or a faulty entry.
    """
    entries = _entries(extra)
    by_folded_name = _by_folded_name(entries)
    if name.casefold() not in by_folded_name:
        raise DataError(
            f"unknown data set '{name}': {nearest(name, entries)}; add your own with --dataset-config FILE.toml"
        )
    proper = by_folded_name[name.casefold()]
    return proper, _parse(proper, entries[proper])


def known_names(extra: Path | None = None) -> tuple[str, ...]:
    """The names of all data sets in their proper spelling, the built-in ones first.

    Args:
        extra: as for `find_dataset`.

    Raises:
        DataError: a faulty file.
    """
    return tuple(_by_folded_name(_entries(extra)).values())


def _entries(extra: Path | None) -> dict[str, Any]:
    return {**DATASET_CONFIG, **(_read_toml(extra) if extra else {})}


def _by_folded_name(entries: Mapping[str, Any]) -> dict[str, str]:
    return {key.casefold(): key for key in entries}


_FORM = "[Name]\nnum_classes = 12\ndefault_input_size = 256"


def _read_toml(path: Path) -> Mapping[str, Any]:
    entries = _load_toml(path)
    loose = [key for key, value in entries.items() if not isinstance(value, Mapping)]
    if loose:
        verb = "stands" if len(loose) == 1 else "stand"
        raise DataError(
            f"{path}: {', '.join(loose)} {verb} outside of a table: put every key below the name of its data set, in "
            f"this form:\n{_FORM}"
        )
    return entries


def _load_toml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise DataError(f"no data set file at {path}") from error
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        raise DataError(f"cannot read the data set file {path}: {error}") from error


_TYPES: Mapping[str, tuple[type, ...]] = {
    "num_classes": (int,),
    "default_input_size": (int,),
    "train_folder": (str,),
    "val_folder": (str,),
    "use_random_split": (bool,),
    "default_data_path": (str, type(None)),
    "test_folder": (str, type(None)),
}


def _parse(name: str, entry: Mapping[str, Any]) -> DatasetConfig:
    known = [field.name for field in fields(DatasetConfig)]
    for key, value in entry.items():
        if key not in known:
            raise DataError(f"data set '{name}': unknown key '{key}': {nearest(key, known)}")
        if type(value) not in _TYPES[key]:
            wanted = " or ".join(kind.__name__ for kind in _TYPES[key] if kind is not type(None))
            raise DataError(f"data set '{name}': {key} must be {wanted}, not {value!r}")
        if key.endswith("_folder") and Path(value or "").is_absolute():
            raise DataError(f"data set '{name}': {key} must be relative to the data set's folder, not {value!r}")
    missing = [key for key in ("num_classes", "default_input_size") if key not in entry]
    if missing:
        raise DataError(f"data set '{name}': {' and '.join(missing)} missing")
    config = DatasetConfig(**entry)
    if config.num_classes < 2 or config.default_input_size < 1:
        raise DataError(f"data set '{name}': it needs at least 2 classes and an input of at least 1 px")
    return config
