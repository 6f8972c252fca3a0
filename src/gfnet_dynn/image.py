"""From an image file to the square RGB array that a network takes: one reading for training and for the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from gfnet_dynn.errors import ImageError
from gfnet_dynn.spec import InputSpec

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_FULL_16_BIT_OVER_8_BIT = 257  # 65535 / 255: 16-bit samples are read over their full range


def read_image(path: Path) -> Image.Image:
    """Decode one file to an 8-bit RGB image.

    Grey becomes RGB, alpha is dropped, palettes are resolved; 16 bits are scaled by their full range, 0 to 65535.

    Args:
        path: JPEG, PNG, TIFF (8 or 16 bit), BMP or WebP.

    Raises:
        ImageError: missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(image)
    except FileNotFoundError as error:
        raise ImageError(f"no image at {path}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image in a known format ({', '.join(sorted(SUFFIXES))})") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"cannot decode {path}: {error}; replace or remove it") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        samples = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray((samples // _FULL_16_BIT_OVER_8_BIT).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def fit(image: Image.Image, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize an RGB image to the network's square input, and pad it by reflection where the spec says so.

    Args:
        image: RGB, any size.
        spec: the input that the network takes.

    Returns:
        uint8 array [size, size, 3].
    """
    content = spec.size - spec.pad
    if image.size != (content, content):
        image = image.resize((content, content), Image.Resampling.BICUBIC)
    pixels = np.array(image, dtype=np.uint8)
    before, after = spec.pad // 2, spec.pad - spec.pad // 2
    return np.pad(pixels, ((before, after), (before, after), (0, 0)), mode="reflect") if spec.pad else pixels


def load_input(path: Path, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Read `path` and fit it to `spec`: uint8 array [size, size, 3].

    Raises:
        ImageError: as `read_image`.
    """
    return fit(read_image(path), spec)
