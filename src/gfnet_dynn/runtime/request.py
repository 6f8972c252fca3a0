"""The request of `classify`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gfnet_dynn.bundle.builtin import SUFFIX, bundle_argument
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option, require

EngineName = Literal["onnxruntime", "openvino"]
PrecisionName = Literal["auto", "fp32", "int8"]

STDIN = Path("-")
"""In place of a file: names, one a line, on standard input."""

_ENGINE = "Engine"
_ARCHIVE = b"PK\x03\x04"  # first bytes of a zip archive


def parse_thresholds(text: str) -> float | tuple[float, ...]:
    """`0.7` → 0.7, `0.7,0.8` → (0.7, 0.8); raises OptionError."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"--threshold takes one number, or one for each exit such as 0.7,0.8, not {text!r}"
        ) from error
    return values if len(values) > 1 else values[0]


def policy_option() -> Any:
    """The exit policy; None: the bundle's default."""
    return option(None, "Exit policy of the bundle. [default: the bundle's default]")


def threshold_option() -> Any:
    """Thresholds in place of the policy's."""
    return option(
        None,
        "Thresholds that replace those of the policy: one number, or one for each exit: 0.7,0.8.",
        parse=parse_thresholds,
        metavar="NUMBERS",
    )


def engine_option() -> Any:
    """The inference engine."""
    return option("onnxruntime", "Inference engine; openvino is an extra.", panel=_ENGINE)


def precision_option() -> Any:
    """The precision of the network."""
    return option(
        "auto",
        "auto: the faster one on this device, timed once and cached; int8 only where export found no loss of accuracy.",
        panel=_ENGINE,
    )


def threads_option() -> Any:
    """Threads of the engine."""
    return option(None, "Processor threads. [default: at most four]", panel=_ENGINE)


@dataclass(frozen=True, kw_only=True)
@lenient
class ClassifyRequest:
    """Options."""

    bundle: Path | None = bundle_argument(None, "the built-in model for the images' ground sampling distance")
    images: tuple[Path, ...] = option(
        (), "Image files, folders of them, or - for a list on standard input.", argument=True
    )
    name_list: Path | None = option(
        None, "File with the names of further images, one a line; - is standard input.", flag="--list", metavar="FILE"
    )
    gsd: float | None = option(
        None, "Metres that a pixel covers, to choose the model. [default: as GeoTIFFs state]", metavar="METRES"
    )
    policy: str | None = policy_option()
    threshold: float | tuple[float, ...] | None = threshold_option()
    batch: int = option(1, "Images at once; those that continue are compacted after each exit.")
    engine: EngineName = engine_option()
    precision: PrecisionName = precision_option()
    threads: int | None = threads_option()
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        if self.bundle is not None and not is_bundle(self.bundle):
            object.__setattr__(self, "images", (self.bundle, *self.images))  # the first of the images
            object.__setattr__(self, "bundle", None)
        if not self.images and self.name_list is None:
            named = f" after {self.bundle}" if self.bundle else ""
            raise OptionError(f"nothing to classify: name image files or folders of them{named}")
        if [*self.images, self.name_list].count(STDIN) > 1:
            raise OptionError("standard input is named twice: give - once")
        require(self, ("batch",), lambda value: value >= 1, "be at least 1")
        require(self, ("gsd",), lambda value: 0 < value < math.inf, "be a positive number of metres")
        if self.bundle is not None and self.gsd is not None:
            raise OptionError(f"--gsd chooses among the built-in models: leave it out, or the bundle {self.bundle}")


def is_bundle(path: Path) -> bool:
    """Whether a path is that of a bundle, by its suffix, or because the file begins as a bundle does."""
    return path.suffix == SUFFIX or _is_archive(path)


def _is_archive(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_ARCHIVE)) == _ARCHIVE
    except OSError:
        return False
