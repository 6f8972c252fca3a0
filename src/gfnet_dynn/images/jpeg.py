"""JPEG decoded by libjpeg-turbo directly where that is installed: the same pixels as Pillow's in half the time."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ImageFile

try:
    import simplejpeg
except ImportError:  # no wheel for this platform: Pillow decodes
    simplejpeg = None

_START = b"\xff\xd8\xff"


def decode_jpeg(content: bytes, side: int | None, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """Decode a colour JPEG.

    Args:
        content: of the file.
        side: of the square that the image will be resized to, in pixels; see `reduction`.
        max_pixels: of an image that is decoded here, before reduction.

    Returns:
        RGB [height, width, 3], or None where this decoder isn't installed or cannot do it: Pillow then decodes, or says
        what is wrong.
    """
    if simplejpeg is None or not content.startswith(_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours != "YCbCr" or height * width > max_pixels:
            return None
        factor = 1 if side is None else reduction((width, height), side)
        high, wide = -(-height // factor), -(-width // factor)  # the decoder rounds up too
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", min_height=high, min_width=wide)
    except ValueError:
        return None
    return pixels


def reduction(size: tuple[int, int], side: int) -> int:
    """By how much a JPEG may be decoded smaller, 8, 4, 2 or 1, still at least twice `side` both ways.

    A decoder gives these sizes almost for free, and from twice the side on, resizing evens out how they were made.

    Args:
        size: width and height in pixels.
        side: of the square that the image will be resized to, in pixels.
    """
    return next((factor for factor in (8, 4, 2) if min(size) // factor >= 2 * side), 1)


def needs_all_coefficients(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Whether the whole image must be held in memory though it is decoded reduced: its colours come in several scans.

    Args:
        image: whose header has just been read from `file`, which stands behind the header of the first scan.
        file: of the image.
    """
    colours = int(getattr(image, "layers", 1))
    header_bytes = 6 + 2 * colours  # of a scan of all colours
    file.seek(-header_bytes, io.SEEK_CUR)
    return "progressive" in image.info or int.from_bytes(file.read(2), "big") != header_bytes
