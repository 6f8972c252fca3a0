"""Resizing to the square that a network takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfnet_dynn.images.decode import read_image
from gfnet_dynn.spec.network import InputSpec


def fit(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize an RGB image to the network's square input, and pad it by reflection where the spec says so.

    Args:
        pixels: RGB, uint8 [height, width, 3].
        spec: the input that the network takes.

    Returns:
        uint8 array [size, size, 3].
    """
    content = spec.size - spec.pad
    if pixels.shape[:2] != (content, content):
        resized = Image.fromarray(pixels).resize((content, content), Image.Resampling.BICUBIC)
        pixels = np.array(resized, dtype=np.uint8)
    before, after = spec.pad // 2, spec.pad - spec.pad // 2
    return np.pad(pixels, ((before, after), (before, after), (0, 0)), mode="reflect") if spec.pad else pixels


def load_input(path: Path, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Read `path` and fit it to `spec`: uint8 array [size, size, 3].

    Raises:
        ImageError: as `read_image`.
    """
    return fit(read_image(path, spec.size - spec.pad), spec)
