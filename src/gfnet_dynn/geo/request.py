"""The request of `map`; needs no rasterio."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gfnet_dynn.bundle.builtin import bundle_argument
from gfnet_dynn.errors import OptionError, StorageError
from gfnet_dynn.images.files import TIFF_SUFFIXES
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.runtime.request import (
    EngineName,
    PrecisionName,
    engine_option,
    is_bundle,
    policy_option,
    precision_option,
    threads_option,
    threshold_option,
)
from gfnet_dynn.units import parse_bytes, parse_share

_SCENE, _GRID = "Scene", "Chips and cells"  # headings of --help
_grid, _output = partial(option, panel=_GRID), partial(option, panel="Output")

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True, slots=True)
class Scale:
    """Which samples become 0 and 255: two values, or two shares of the scene's valid samples (percentiles)."""

    low: float
    high: float
    of_samples: bool = False

    def __str__(self) -> str:
        return f"{100 * self.low:g}%,{100 * self.high:g}%" if self.of_samples else f"{self.low:g},{self.high:g}"


def parse_scale(text: str) -> Scale:
    """`0,2750` → values, `2%,98%` → percentiles; raises OptionError."""
    parts = text.split(",")
    try:
        if all(part.strip().endswith("%") for part in parts):
            low, high = map(parse_share, parts)
            scale = Scale(low, high, of_samples=True)
        else:
            low, high = map(float, parts)
            scale = Scale(low, high)
    except ValueError as error:
        raise OptionError(
            f"--scale takes LOW,HIGH such as 0,2750, or percentages such as 2%,98%, not {text!r}"
        ) from error
    if not scale.low < scale.high < float("inf") or scale.low == -float("inf"):
        raise OptionError(f"--scale takes LOW,HIGH with LOW < HIGH, not {text!r}")
    return scale


def parse_bands(text: str) -> tuple[str, ...]:
    """`4,3,2` or `B04,B03,B02` → the three; raises OptionError: not three."""
    bands = tuple(part.strip() for part in text.split(","))
    if len(bands) != 3 or not all(bands):
        raise OptionError(
            f"--bands takes three numbers or descriptions for red, green and blue, such as 4,3,2, not {text!r}"
        )
    return bands


def bands_option(panel: str = _SCENE) -> Any:
    """Which bands are red, green and blue; None: as the scene states."""
    return option(
        None,
        "Red, green and blue by number or description: 4,3,2 or B04,B03,B02. [default: as the scene states]",
        parse=parse_bands,
        metavar="BANDS",
        panel=panel,
    )


def scale_option(panel: str = _SCENE) -> Any:
    """How samples become bytes; None: by the model."""
    return option(
        None,
        "Samples that become 0 and 255: two values (0,2750), or percentiles of the whole scene (2%,98%). [default: the "
        "model's; 8 bit as it is]",
        parse=parse_scale,
        metavar="LOW,HIGH",
        panel=panel,
    )


def chip_option(panel: str = _GRID) -> Any:
    """Side of a chip in place of the model's."""
    return option(
        None,
        "Side of the ground that the network sees at once. [default: the model's]",
        metavar="METRES",
        panel=panel,
    )


@dataclass(frozen=True, kw_only=True)
@lenient
class MapRequest:
    """Options."""

    bundle: Path | None = bundle_argument(None, "the built-in model for the scene's ground sampling distance")
    scene: Path | None = option(None, "GeoTIFF or another georeferenced raster.", argument=True)
    output: Path = option(
        ...,
        "Class map to write, FILE.tif; confidences and exits go to FILE_confidence.tif and FILE_exit.tif.",
        short="-o",
    )
    policy: str | None = policy_option()
    threshold: float | tuple[float, ...] | None = threshold_option()
    max_memory: int | None = option(
        None,
        "Most memory of the process, such as 256M: fewer blocks are read ahead. [default: four blocks ahead]",
        parse=parse_bytes,
        metavar="SIZE",
    )
    bands: tuple[str, ...] | None = bands_option()
    scale: Scale | None = scale_option()
    gsd: float | None = option(
        None, "Metres that a pixel covers. [default: as the scene states]", metavar="METRES", panel=_SCENE
    )
    chip: float | None = chip_option()
    stride: float | None = _grid(
        None,
        "Side of a cell of the map, and step between chips. [default: half a chip, or a chip with --no-blend]",
        metavar="METRES",
    )
    blend: bool = _grid(True, "Average the probabilities of all chips that cover a cell; otherwise the nearest one's.")
    engine: EngineName = engine_option()
    precision: PrecisionName = precision_option()
    threads: int | None = threads_option()
    png: Path | None = _output(None, "Write a picture with legend and scale bar here.")
    polygons: Path | None = _output(None, "Write the areas of each class here as a GeoPackage, .gpkg.")
    stac: Path | None = _output(None, "Write a STAC item that describes the maps here, .json.")

    def __post_init__(self) -> None:
        if self.bundle is not None and self.scene is None and not is_bundle(self.bundle):
            object.__setattr__(self, "scene", self.bundle)
            object.__setattr__(self, "bundle", None)
        if self.scene is not None and _URL.match(str(self.scene)):
            raise OptionError(f"{self.scene} is a URL: download the scene, and map the file")
        require(self, ("gsd", "chip", "stride"), lambda value: value > 0, "be a positive number of metres")
        self._require_suffixes()

    def _require_suffixes(self) -> None:
        wanted = {"output": TIFF_SUFFIXES, "png": (".png",), "polygons": (".gpkg",), "stac": (".json",)}
        for name, suffixes in wanted.items():
            file: Path | None = getattr(self, name)
            if file is not None and (file.suffix.lower() not in suffixes or file.is_dir()):
                raise StorageError(f"--{name} {file}: name a file that ends in {suffixes[0]}")

    @property
    def confidence_output(self) -> Path:
        """Where the confidences go."""
        return self.output.with_stem(f"{self.output.stem}_confidence")

    @property
    def exit_output(self) -> Path:
        """Where the exits go."""
        return self.output.with_stem(f"{self.output.stem}_exit")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are written, the class map first."""
        more = filter(None, (self.png, self.polygons, self.stac))
        return (self.output, self.confidence_output, self.exit_output, *more)
