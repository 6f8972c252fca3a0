"""From an image file to an RGB array: one reading for training and for the device."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.files import SUFFIXES
from gfnet_dynn.images.jpeg import decode_jpeg, reduction

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # one of the many others is run as a PostScript program
_MAX_16_BIT = 65535
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _SEPARATE_PLANES = 258, 284, 2  # of TIFF 6.0


def read_image(path: Path, side: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode one file: uint8 [height, width, 3], RGB.

    Grey becomes RGB, alpha is dropped, palettes are resolved; of 16 bits the upper 8 stay.

    Args:
        path: JPEG, PNG, TIFF (8 or 16 bit), BMP or WebP.
        side: of the square that the image will be resized to, in pixels. A JPEG much larger than that is decoded at a
            half, a quarter or an eighth of its size, still at least twice as large: far less work, same picture.

    Raises:
        ImageError: missing, truncated, not an image, or with samples of another kind.
    """
    try:
        content = path.read_bytes()
        quick = decode_jpeg(content, side)
        if quick is not None:
            return quick
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if side is not None:
                factor = reduction(image.size, side)
                image.draft("RGB", (image.width // factor, image.height // factor))
            image.load()
            return np.array(_to_rgb(image))
    except FileNotFoundError as error:
        raise ImageError(f"no image at {path}") from error
    except UnidentifiedImageError as error:
        known = ", ".join(sorted(SUFFIXES))
        raise ImageError(f"{path} is not an image in a known format ({known}; 8 or 16 bit)") from error
    except Exception as error:  # Pillow's decoders raise nearly anything where a file is damaged
        raise ImageError(f"cannot decode {path}: {error}; replace or remove it") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    _require_known_samples(image)
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > _MAX_16_BIT:
            raise ValueError(f"its samples go from {samples.min()} to {samples.max()}, beyond unsigned 16 bit")
        return Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
    return image.convert("RGB")


def _require_known_samples(image: Image.Image) -> None:
    """Refuse what Pillow would turn into a wrong picture without a word."""
    if image.mode == "F":
        raise ValueError("its samples are floating-point numbers of unknown range, not 8 or 16 bit")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and len(image.getbands()) > 1:
        separate = image.tag_v2.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES
        if separate and max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8:
            raise ValueError("it keeps each band of 16 bit in a plane of its own: store it interleaved by pixel")
