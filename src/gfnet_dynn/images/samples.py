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

Stretch = tuple[float, float]
"""The sample values that become 0 and 255."""

_MAX = 65535
_NARROW = (_MAX + 1) // 4  # a smaller range cannot be meant as it stands: 14 bit or less, or one narrow peak
_RANGE_FROM = 1_000_000  # pixels, evenly spread, of which the range is found
_BLOCK = 1 << 22  # pixels converted at once: large images need no second copy
_LOWER_BYTE = {"16L": "16B", "16B": "16L", "16N": "16B" if sys.byteorder == "little" else "16L"}


def is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether samples have more than 8 bit; to be asked before they are loaded."""
    return image.mode[0] in "IF" or (image.format in ("PNG", "TIFF") and ";16" in _raw_mode(image))


def rgb_of(image: Image.Image) -> Image.Image:
    """8-bit samples as RGB: grey becomes RGB, alpha is dropped, palettes are resolved."""
    image.load()
    rows = max(1, _BLOCK // image.width)  # piece by piece, so that no second copy of a large image is needed
    if image.mode == "RGB" or rows >= image.height:
        return _convert(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        part = (0, top, image.width, min(image.height, top + rows))
        whole.paste(_convert(image.crop(part)), part)
    return whole


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
    return image if image.mode == "RGB" else image.convert("RGB")


def read_wide(
    image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile], stretch: Stretch | None
) -> npt.NDArray[np.uint8]:
    """Decode samples of more than 8 bit.

    Args:
        image: not loaded yet.
        reopen: the same once more: of 16-bit colours Pillow gives one byte at a time.
        stretch: sample values that become 0 and 255; None for the upper 8 of 16 bit.

    Returns:
        RGB, uint8 [height, width, 3].

    Raises:
        UnsuitableImage: without `stretch`, samples that are not 16 bit or use a small part of its range.
    """
    raw = _raw_mode(image)
    if image.mode[0] not in "IF":
        return _read_colours(image, reopen, stretch, raw)
    image.load()
    samples = np.asarray(image)
    if stretch is None and "12" in raw:
        stretch = (0, 4095)
    elif stretch is None and image.mode in "IF":
        kind = "float32" if image.mode == "F" else "int16" if "16" in raw else "int32"
        low, high = _finite_range(samples)
        raise UnsuitableImage(
            f"has {kind} samples, here from {low:g} to {high:g}, whose full range is not known: {_ADVICE}"
        )
    elif stretch is None:
        _require_used(_spread(samples))
    grey = np.empty(samples.shape, np.uint8)
    for rows in _row_blocks(samples):
        grey[rows] = samples[rows] >> 8 if stretch is None else _scale(samples[rows], stretch)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _read_colours(
    image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile], stretch: Stretch | None, raw: str
) -> npt.NDArray[np.uint8]:
    upper = np.array(rgb_of(image))
    if stretch is None and not _may_be_narrow(upper):
        return upper
    if raw.startswith("RGBa"):
        raise UnsuitableImage("has 16-bit colours multiplied by their alpha: store them without it")
    again = reopen()
    again.tile = [tile._replace(args=_lower_byte(tile.args)) for tile in again.tile]
    lower = np.asarray(rgb_of(again))
    if stretch is None:
        _require_used(_spread(upper).astype(np.uint16) << 8 | _spread(lower))
        return upper
    for rows in _row_blocks(upper):
        upper[rows] = _scale(upper[rows].astype(np.uint16) << 8 | lower[rows], stretch)
    return upper


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How Pillow will unpack the samples, such as ``RGB;16B``."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _lower_byte(arguments: Any) -> Any:
    """The unpacking of 16-bit samples that takes their other byte: Pillow drops the lower one."""
    raw = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    other = raw[:-3] + _LOWER_BYTE[raw[-3:]]
    return (other, *arguments[1:]) if isinstance(arguments, tuple) else other


def _row_blocks(samples: npt.NDArray[Any]) -> list[slice]:
    rows = max(1, _BLOCK // max(1, samples.shape[1]))
    return [slice(top, top + rows) for top in range(0, len(samples), rows)]


def _scale(samples: npt.NDArray[Any], stretch: Stretch) -> npt.NDArray[np.float32]:
    low, high = stretch
    scaled = np.nan_to_num((samples.astype(np.float32) - low) * np.float32(255 / (high - low)), nan=0.0)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.float32)


def _spread(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = math.ceil(math.sqrt(samples.shape[0] * samples.shape[1] / _RANGE_FROM))
    return samples[::step, ::step]


def _may_be_narrow(upper: npt.NDArray[np.uint8]) -> bool:
    """Whether the upper bytes leave open that few values are in use; 0 and 255 may hold what is no data."""
    used = np.flatnonzero(np.bincount(_spread(upper).ravel(), minlength=256)[1:255])
    return len(used) == 0 or bool(256 * (used[-1] - used[0] - 1) < _NARROW)


def _require_used(samples: npt.NDArray[Any]) -> None:
    """Refuse 16-bit samples that use a small part of their range, such as 11-bit ones, which would be nearly black."""
    inner = samples[(samples > 0) & (samples < _MAX)]  # those two are often no data
    if len(inner) and int(inner.max()) - int(inner.min()) < _NARROW:
        low, high = int(inner.min()), int(inner.max())
        used = f"has 16-bit samples that use only the values {low} to {high}"
        raise UnsuitableImage(f"{used}: {_ADVICE}, {_example(low, high)}")


def _example(low: int, high: int) -> str:
    first = 0 if 2 * low < high else low
    return f"such as {first},{2 ** high.bit_length() - 1}, or 0,{_MAX} to take them as they are"


def _finite_range(samples: npt.NDArray[Any]) -> tuple[float, float]:
    finite = samples[np.isfinite(samples)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


_ADVICE = "give --stretch LOW,HIGH, the values for black and white, the same for all images of a network"
