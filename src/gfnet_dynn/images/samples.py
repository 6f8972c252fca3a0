"""Samples of any kind as 8-bit RGB; those of more than 8 bit by their type's range, or by given values."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from gfnet_dynn.images.formats import UnsuitableImage
from gfnet_dynn.images.options import Stretch

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

_MAX = 65535
_NARROW = (_MAX + 1) // 4  # a smaller range cannot be meant as it stands: 14 bit or less, or one narrow peak
_RANGE_FROM = 1_000_000  # pixels, evenly spread, of which the range is found
_BLOCK = 1 << 20  # pixels converted at once
_LOWER_BYTE = {"16L": "16B", "16B": "16L", "16N": "16B" if sys.byteorder == "little" else "16L"}


def is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether samples have more than 8 bit; to be asked before they are loaded."""
    return image.mode[0] in "IF" or (image.format in ("PNG", "TIFF") and ";16" in _raw_mode(image))


def rgb_of(image: Image.Image) -> Image.Image:
    """8-bit samples as RGB: grey becomes RGB, alpha is dropped, palettes are resolved."""
    image.load()
    if image.mode == "RGB" or image.width * image.height <= _BLOCK:
        return _convert(image)
    return _join(image.size, lambda box: _convert(image.crop(box)))


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
    return image if image.mode == "RGB" else image.convert("RGB")


def read_wide(
    image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile], stretch: Stretch | None
) -> Image.Image:
    """Decode samples of more than 8 bit, not loaded yet, to an RGB image.

    `reopen` gives the same once more, as of 16-bit colours Pillow gives one byte at a time. Without `stretch`, the
    sample values that become 0 and 255, the upper 8 of 16 bit stay.

    Raises:
        UnsuitableImage: without `stretch`, samples that are not 16 bit or use a small part of its range.
    """
    raw = _raw_mode(image)
    image.load()
    if image.mode[0] not in "IF":
        return _read_colours(image, reopen, stretch, raw)
    if stretch is None and "12" in raw:
        stretch = (0, 4095)
    elif stretch is None and image.mode in "IF":
        kind = "float32" if image.mode == "F" else "int16" if "16" in raw else "int32"
        samples = _spread(image)
        finite = samples[np.isfinite(samples)] if np.isfinite(samples).any() else np.zeros(1)
        low, high = finite.min(), finite.max()
        raise UnsuitableImage(
            f"has {kind} samples, here from {low:g} to {high:g}, whose full range is not known: {_ADVICE}"
        )
    elif stretch is None:
        _require_used(_spread(image))
    return _join(image.size, lambda box: _scaled(np.asarray(image.crop(box)), stretch))


def _read_colours(
    image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile], stretch: Stretch | None, raw: str
) -> Image.Image:
    if stretch is None and not _may_be_narrow(_spread(image)):
        return rgb_of(image)
    if raw.startswith("RGBa"):
        raise UnsuitableImage("has 16-bit colours multiplied by their alpha: store them without it")
    again = reopen()
    again.tile = [tile._replace(args=_lower_byte(tile.args)) for tile in again.tile]
    again.load()
    if stretch is None:
        _require_used(_spread(image).astype(np.uint16) << 8 | _spread(again))
        return rgb_of(image)

    def samples(box: Box) -> npt.NDArray[Any]:
        upper, lower = (np.asarray(_convert(each.crop(box)), np.uint16) for each in (image, again))
        return upper << 8 | lower

    return _join(image.size, lambda box: _scaled(samples(box), stretch))


def _join(size: tuple[int, int], make: Callable[[Box], Image.Image]) -> Image.Image:
    """An RGB image made piece by piece: of a large one there is no second copy."""
    whole = Image.new("RGB", size)
    for box in _boxes(size):
        whole.paste(make(box), box)
    return whole


def _boxes(size: tuple[int, int]) -> list[Box]:
    width, height = size
    rows = max(1, _BLOCK // width)
    return [(0, top, width, min(height, top + rows)) for top in range(0, height, rows)]


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How Pillow will unpack the samples, such as ``RGB;16B``."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _lower_byte(arguments: Any) -> Any:
    """The unpacking of 16-bit samples that takes their other byte: Pillow drops the lower one."""
    raw = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    other = raw[:-3] + _LOWER_BYTE[raw[-3:]]
    return (other, *arguments[1:]) if isinstance(arguments, tuple) else other


def _scaled(samples: npt.NDArray[Any], stretch: Stretch | None) -> Image.Image:
    """An RGB image of samples [height, width] or [height, width, 3]."""
    if stretch is None:
        return Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")
    return Image.fromarray(stretched(samples, stretch)).convert("RGB")


def stretched(samples: npt.NDArray[Any], stretch: Stretch) -> npt.NDArray[np.uint8]:
    """Samples of any shape as bytes: the first value of the stretch becomes 0, the second 255; what is no number, 0."""
    low, high = stretch
    scaled = (samples.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.clip(np.rint(np.nan_to_num(scaled, nan=0.0)), 0, 255), np.uint8)


def _spread(image: Image.Image) -> npt.NDArray[Any]:
    """Samples of at most about a million pixels, evenly spread; without alpha."""
    step = math.ceil(math.sqrt(image.width * image.height / _RANGE_FROM))
    pieces = (image.crop(box) for box in _boxes(image.size))
    wide = image.mode[0] in "IF"
    return np.concatenate([np.asarray(each if wide else _convert(each))[::step, ::step] for each in pieces])


def _may_be_narrow(upper: npt.NDArray[np.uint8]) -> bool:
    """Whether the upper bytes leave open that few values are in use; 0 and 255 may hold what is no data."""
    used = np.flatnonzero(np.bincount(upper.ravel(), minlength=256)[1:255])
    return len(used) == 0 or bool(256 * (used[-1] - used[0] - 1) < _NARROW)


def _require_used(samples: npt.NDArray[Any]) -> None:
    """Refuse 16-bit samples that use a small part of their range, such as 11-bit ones, which would be nearly black."""
    inner = samples[(samples > 0) & (samples < _MAX)]  # those two are often no data
    if len(inner) and int(inner.max()) - int(inner.min()) < _NARROW:
        low, high = int(inner.min()), int(inner.max())
        used = f"has 16-bit samples that use only the values {low} to {high}"
        example = f"{0 if 2 * low < high else low},{2 ** high.bit_length() - 1}"
        raise UnsuitableImage(f"{used}: {_ADVICE}, such as {example}, or 0,{_MAX} to take them as they are")


_ADVICE = "give --stretch LOW,HIGH, the values for black and white, the same for all images of a network"
