"""Resizing to the square that a network takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfnet_dynn.images.decode import Decoded, decode
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.spec.network import InputSpec

_LONG_SIDE = 65_535  # pixels; no JPEG is longer


def fit(image: Decoded, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize to the network's square input, uint8 [size, size, 3], and pad it by reflection if the input says so."""
    content = spec.size - spec.pad
    fits = isinstance(image, np.ndarray) and image.shape == (content, content, 3)
    return _padded(np.array(image if fits else _resized(image, content), dtype=np.uint8), spec)


def _padded(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.uint8]:
    before, after = spec.pad // 2, spec.pad - spec.pad // 2
    return np.pad(pixels, ((before, after), (before, after), (0, 0)), mode="reflect") if spec.pad else pixels


def _resized(image: Decoded, side: int) -> Image.Image:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    if image.size == (side, side):
        return image
    # The weights of a resize take 32 bytes for each pixel of a side: a very long one is averaged first.
    gap = 3.0 if max(image.size) > _LONG_SIDE else None
    return image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=gap)


def load_input(source: Path | bytes, spec: InputSpec, options: DecodeOptions = DEFAULT) -> npt.NDArray[np.uint8]:
    """Read and fit a file, or the content of one: uint8 [size, size, 3]; `options` may replace the stretch.

    Raises ImageError as `decode`.
    """
    return fit(decode(source, spec.size - spec.pad, decode_options(spec, options)), spec)


def decode_options(spec: InputSpec, options: DecodeOptions = DEFAULT) -> DecodeOptions:
    """How images are decoded for a network: with its own stretch, where `options` has none."""
    return options if options.stretch else replace(options, stretch=spec.stretch)
