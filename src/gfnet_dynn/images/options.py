"""How images are decoded, as options of every command that reads images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import option

MAX_PIXELS = 25_000_000
"""With it, decoding takes less than 500 MB in every format (WebP most, 16 bytes a pixel); a square of 5,000 px."""

Stretch = tuple[float, float]
"""The sample values that become 0 and 255."""


def parse_stretch(text: str) -> Stretch:
    """`0,2047` → (0.0, 2047.0); raises OptionError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"--stretch takes two numbers LOW,HIGH such as 0,2047, not {text!r}") from error
    return low, high


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """Decoding."""

    max_pixels: int = option(
        MAX_PIXELS, "Most pixels decoded of one image; a large JPEG is decoded at a part of its size.", rare=True
    )
    stretch: Stretch | None = option(
        None,
        "Sample values that become 0 and 255, for images of more than 8 bit, such as 0,2047 for 11 bit. "
        "[default: the network's]",
        rare=True,
        parse=parse_stretch,
        metavar="LOW,HIGH",
    )

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise OptionError(f"--max-pixels must be at least 1, not {self.max_pixels}")
        if self.stretch is not None and not -math.inf < self.stretch[0] < self.stretch[1] < math.inf:
            raise OptionError(f"--stretch takes two numbers LOW,HIGH with LOW < HIGH, not {self.stretch}")


DEFAULT = DecodeOptions()
