"""JPEG decoded by libjpeg-turbo directly where that is installed: the same pixels as Pillow's in half the time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

try:
    import simplejpeg
except ImportError:  # no wheel for this platform: Pillow decodes
    simplejpeg = None

_START = b"\xff\xd8\xff"
_MOST_PIXELS = 64 * 1024**2  # beyond it Pillow has its say, which warns of bombs


def decode_jpeg(content: bytes, side: int | None = None) -> npt.NDArray[np.uint8] | None:
    """Decode a colour JPEG.

    Args:
        content: of the file.
        side: of the square that the image will be resized to, in pixels; see `reduction`.

    Returns:
        RGB [height, width, 3], or None where this decoder isn't installed or cannot do it: Pillow then decodes, or says
        what is wrong.
    """
    if simplejpeg is None or not content.startswith(_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours != "YCbCr" or height * width > _MOST_PIXELS:
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
