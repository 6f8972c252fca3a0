"""The data sets that the command line knows by name, what is published about them, and how a user adds one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from gfnet_dynn.errors import DataError, OptionError, nearest
from gfnet_dynn.system.structured import structured


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """One data set of scene images.

    Attributes:
        train_folder: sub-folder with a folder of images for each class; with a random split, the only one.
        val_folder: sub-folder of the images to report on; unused with a random split.
        use_random_split: there is one folder of classes, to be split into train and val.
        test_folder: sub-folder of a test set, where there is one; reports are then made on it.
    """

    num_classes: int
    default_input_size: int
    train_folder: str = "train"
    val_folder: str = "val"
    use_random_split: bool = False
    default_data_path: str | None = None
    test_folder: str | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 2 or self.default_input_size < 1:
            raise OptionError("it needs num_classes of at least 2 and default_input_size of at least 1")
        for name in ("train_folder", "val_folder", "test_folder"):
            folder = getattr(self, name)
            if folder and Path(folder).is_absolute():
                raise OptionError(f"{name} must be relative to the data set's folder, not {folder!r}")

    @property
    def part_folders(self) -> dict[str, str]:
        """Part → its folder; with a random split there is no val, which is drawn from train later."""
        val = {} if self.use_random_split else {"val": self.val_folder}
        return {"train": self.train_folder, **val, **({"test": self.test_folder} if self.test_folder else {})}


DATASET_CONFIG: Mapping[str, DatasetConfig] = {
    "UCM": DatasetConfig(21, 256, default_data_path="data/UCM"),
    "NaSC": DatasetConfig(10, 128, ".", ".", use_random_split=True, default_data_path="data/NaSC"),
    "NWPU": DatasetConfig(45, 256, default_data_path="data/NWPU"),
    "PatternNet": DatasetConfig(38, 256, default_data_path="data/PatternNet"),
    "AID": DatasetConfig(30, 600, default_data_path="data/AID"),
    "SyntheticScenes": DatasetConfig(10, 64, default_data_path="runs/data/SyntheticScenes"),
}
"""Add an entry here, or one with the same fields as a table of a TOML file given with --dataset-config."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One ZIP archive in a data set repository of the Hugging Face hub.

    `revision` is a commit, so that the archive cannot change under a fixed checksum; `images_folder` has one folder of
    images for each class; an archive that declares more than `unpacked_limit_gb` is refused.
    """

    repository: str
    revision: str
    file: str
    sha256: str
    images_folder: str
    unpacked_limit_gb: float


@dataclass(frozen=True, slots=True)
class KnownSet:
    """What is published about a data set: images in the whole set, and least and most in one class of it.

    `generated`: `gfnet-dynn` draws it itself.
    """

    images: int
    images_per_class: tuple[int, int]
    licence: str
    source: str
    archive: Archive | None = None
    generated: bool = False

    @property
    def way(self) -> str:
        """The way to get it, in two words."""
        return "drawing" if self.generated else "download" if self.archive else "by hand"


@cache
def known_sets() -> dict[str, KnownSet]:
    """Name, spelled as in `DATASET_CONFIG`, → what is published about it, as `known_sets.toml` has it."""
    facts = (files("gfnet_dynn") / "data" / "catalogue" / "known_sets.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(facts, type=dict[str, KnownSet])


_FORM = "[Name]\nnum_classes = 12\ndefault_input_size = 256"


def find_dataset(name: str, extra: Path | None = None) -> tuple[str, DatasetConfig]:
    """The proper spelling of a data set's name, matched whatever the case, and its configuration.

    `extra` is a TOML file with one table for each further data set; it wins over the built-in entries.

    Raises:
        DataError: unknown name (the nearest is suggested), or a faulty entry.
    """
    own = _read_toml(extra) if extra else {}
    spellings = _spellings(own)
    if name.casefold() not in spellings:
        raise DataError(
            f"no folder and unknown data set '{name}': {nearest(name, spellings.values())}; give your own by its "
            "folder, or with --dataset-config FILE.toml"
        )
    proper = spellings[name.casefold()]
    if proper not in own:
        return proper, DATASET_CONFIG[proper]
    return proper, structured(DatasetConfig, own[proper], f"{extra}: [{proper}]", DataError)


def known_names(extra: Path | None = None) -> tuple[str, ...]:
    """The names of all data sets in their spelling, the built-in ones first; a DataError where the file is faulty."""
    return tuple(_spellings(_read_toml(extra) if extra else {}).values())


def _spellings(own: Mapping[str, Any]) -> dict[str, str]:
    return {key.casefold(): key for key in (*DATASET_CONFIG, *own)}


def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # missing, not TOML, or not UTF-8
        raise DataError(f"cannot read the data set file {path}: {error}") from error
    if loose := [key for key, value in entries.items() if not isinstance(value, Mapping)]:
        raise DataError(f"{path}: {', '.join(loose)} must be in the table of a data set, in this form:\n{_FORM}")
    return entries
