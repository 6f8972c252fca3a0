"""Options that choose a data set, the input of the network, and the split; the requests of `data`. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.units import share_option

Augmentation = Literal["none", "overhead", "randaugment"]
"""none · overhead: the eight symmetries of the square, crop, colour · randaugment: overhead and RandAugment."""


_FURTHER = "TOML file that describes further data sets."


@dataclass(frozen=True, kw_only=True)
@lenient
class DataOptions:
    """Data."""

    data_set: str | None = option(
        None, "Name of a known data set, see `gfnet-dynn data list`. [default: found in the folder itself]"
    )
    data_path: Path | None = option(None, "Folder of the data set. [default: the known data set's]")
    dataset_config: Path | None = option(None, _FURTHER, rare=True)
    input_size: int | None = option(
        None, "Side of the input in pixels. [default: the images', at most --largest-input-size]"
    )
    largest_input_size: int | None = option(
        None, "Largest side where --input-size is not given; recipes set it.", rare=True
    )
    pad: bool = option(False, "Pad the input by reflection to a size that the network can take.", rare=True)


@dataclass(frozen=True, slots=True)
@lenient
class SplitSettings:
    """Split."""

    split_seed: int = option(0, "Seed of the split.", rare=True)
    split_ratio: float = share_option(
        0.8, "Share of a data set without a val folder that is used for training, selection included."
    )
    selection_share: float = share_option(
        0.1, "Share of the training images of each class that is held out to choose epochs and thresholds on."
    )
    on_bad_image: Literal["refuse", "skip"] = option("refuse", "What to do with unreadable images.")

    def __post_init__(self) -> None:
        require(self, ("split_ratio", "selection_share"), lambda value: 0 < value < 1, "lie between 0 and 1")
        require(self, ("split_seed",), lambda value: value >= 0, "not be negative")


@dataclass(frozen=True, kw_only=True)
@lenient
class DataListRequest:
    """Options."""

    dataset_config: Path | None = option(None, _FURTHER)


@dataclass(frozen=True, kw_only=True)
@lenient
class DataDownloadRequest:
    """Options."""

    name: str = option(..., "Name of the data set, in any case; `gfnet-dynn data list` lists them.", argument=True)
    to: Path | None = option(None, "Folder of all data sets, in which NAME is created. [default: data]")
    split_ratio: float | None = share_option(None, "Share of each class for the train folder. [default: 80%]")
    seed: int = option(0, "Seed of the split, or of drawn images.")
    dataset_config: Path | None = option(None, _FURTHER, rare=True)


@dataclass(frozen=True, kw_only=True)
@lenient
class DataCheckRequest:
    """Options."""

    data: str = option(
        ...,
        "Name of a data set, or a folder: one sub-folder of images for each class, or such folders in train, val and "
        "test.",
        argument=True,
    )
    data_path: Path | None = option(None, "Folder of the named data set. [default: its usual place]")
    dataset_config: Path | None = option(None, _FURTHER)
    decode: DecodeOptions = DEFAULT
