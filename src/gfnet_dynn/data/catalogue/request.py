"""The requests of `data`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option
from gfnet_dynn.units import share_option

_CONFIG = "TOML file that describes further data sets."


@dataclass(frozen=True, kw_only=True)
@lenient
class DataListRequest:
    """Options."""

    dataset_config: Path | None = option(None, _CONFIG)


@dataclass(frozen=True, kw_only=True)
@lenient
class DataDownloadRequest:
    """Options."""

    name: str = option(..., "Name of the data set, in any case; `gfnet-dynn data list` lists them.", argument=True)
    to: Path | None = option(None, "Folder of all data sets, in which NAME is created. [default: data]")
    split_ratio: float | None = share_option(None, "Share of each class for the train folder. [default: 80%]")
    seed: int = option(0, "Seed of the split, or of drawn images.")
    dataset_config: Path | None = option(None, _CONFIG, rare=True)


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
    dataset_config: Path | None = option(None, _CONFIG)
    decode: DecodeOptions = DEFAULT
