"""From an image file to an RGB array: one reading for training and for the device, with bounded memory.

JPEGs are decoded by libjpeg-turbo directly where that is installed: whole, the same pixels as Pillow's in half the
time; and at once at nearly the size that is needed, which Pillow does for a half, a quarter and an eighth alone.
"""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

try:
    import simplejpeg
except ImportError:  # no wheel for this platform: Pillow decodes
    simplejpeg = None

from gfnet_dynn.display import printable
from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.formats import HEAD_BYTES, UnsuitableImage, identify, open_image, webp_size
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.images.samples import is_wide, read_wide, rgb_of

IN_MEMORY = "the image in memory"
"""Name, in errors, of what has no file."""

_FILE_BYTES_PER_PIXEL = {"WEBP": 4, "PNG": 8}  # more, and the file holds other things, which Pillow would read too
_MOST_FILE_BYTES_PER_PIXEL = 16
_SMALL_FILE = 1 << 25  # bytes; up to this size it is read whole
_JPEG = b"\xff\xd8\xff"
_IRREGULAR = {stat.S_ISDIR: "folder", stat.S_ISFIFO: "FIFO", stat.S_ISCHR: "device", stat.S_ISBLK: "device"}


def read_image(source: Path | bytes, options: DecodeOptions = DEFAULT) -> npt.NDArray[np.uint8]:
    """Decode all pixels of a file as `decode` does: uint8 [height, width, 3], RGB."""
    return np.array(decode(source, None, options))


Decoded = Image.Image | npt.NDArray[np.uint8]
"""An RGB image, or its pixels, uint8 [height, width, 3]: whatever the decoder makes without a copy."""


def decode(source: Path | bytes, side: int | None, options: DecodeOptions = DEFAULT) -> Decoded:
    """Decode a file to RGB.

    Grey becomes RGB, alpha is dropped, palettes are resolved; of 16 bits the upper 8 stay, unless `options` say else.

    Args:
        source: JPEG, PNG, TIFF (8 or 16 bit; others with `stretch`), BMP or WebP; a path or the content.
        side: of the square that the image will be resized to, in pixels. A JPEG larger than that is decoded at the
            smallest number of eighths of its size that is not below it: far less work, nearly the same picture.
        options: limits.

    Raises:
        ImageError: missing, truncated, not an image, too large, or with samples that need `stretch`.
    """
    try:
        with _opened(source) as file:
            return _decode(file, side, options)
    except FileNotFoundError as error:
        raise ImageError(f"no image at {_name(source)}") from error
    except UnsuitableImage as error:
        raise ImageError(f"{_name(source)} {error}") from error
    except MemoryError as error:
        raise ImageError(f"cannot decode {_name(source)}: not enough memory; give a smaller image") from error
    except Exception as error:  # Pillow's decoders raise nearly anything where a file is damaged
        raise ImageError(f"cannot decode {_name(source)}: {_reason(error)}; replace or remove it") from error


def _name(source: Path | bytes) -> str:
    return printable(source) if isinstance(source, Path) else IN_MEMORY


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(error) or "it is damaged"


def _opened(source: Path | bytes) -> BinaryIO:
    """The content to read; what is no regular file is not opened, as it may never end or answer."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    found = source.stat()
    if not stat.S_ISREG(found.st_mode):
        what = next((what for is_that, what in _IRREGULAR.items() if is_that(found.st_mode)), "socket")
        raise UnsuitableImage(f"is a {what}, not a file: give an image file")
    return source.open("rb") if found.st_size > _SMALL_FILE else io.BytesIO(source.read_bytes())


def _decode(file: BinaryIO, side: int | None, options: DecodeOptions) -> Decoded:
    head = file.read(HEAD_BYTES)
    kind = identify(head)
    if kind == "JPEG" and isinstance(file, io.BytesIO):
        quick = decode_jpeg(file.getvalue(), side, options.max_pixels)
        if quick is not None:
            return quick
    size = file.seek(0, io.SEEK_END)
    if size > _FILE_BYTES_PER_PIXEL.get(kind, _MOST_FILE_BYTES_PER_PIXEL) * options.max_pixels + _SMALL_FILE:
        raise UnsuitableImage(f"has {size / 1e6:.0f} MB, too many for {_allowed(options)}")
    if kind == "WEBP":
        _require_few_pixels(webp_size(head), options)
    image = open_image(kind, file)
    if kind == "JPEG":
        _reduce(image, file, side, options)
    _require_few_pixels(image.size, options)
    if is_wide(image):
        return read_wide(image, lambda: open_image(kind, file), options.stretch)
    return rgb_of(image)


def _reduce(image: ImageFile.ImageFile, file: BinaryIO, side: int | None, options: DecodeOptions) -> None:
    """Have a JPEG decoded at a part of its size."""
    if needs_all_coefficients(image, file):
        _require_few_pixels(image.size, options)
    if side is not None:
        needed = eighths(image.size, side)
        factor = next(each for each in (8, 4, 2, 1) if 8 // each >= needed)
        image.draft("RGB", (image.width // factor, image.height // factor))


def _require_few_pixels(size: tuple[int, int], options: DecodeOptions) -> None:
    width, height = size
    if width * height > options.max_pixels:
        raise UnsuitableImage(f"has {width} × {height} pixels, more than {_allowed(options)}")


def _allowed(options: DecodeOptions) -> str:
    return f"the {options.max_pixels / 1e6:g} million pixels allowed: give a smaller image, or raise --max-pixels"


def decode_jpeg(content: bytes, side: int | None, max_pixels: int) -> npt.NDArray[np.uint8] | None:
    """Decode a colour JPEG to RGB [height, width, 3]; None where this decoder isn't installed or cannot do it.

    Pillow then decodes, or says what is wrong. See `eighths` for `side`; the limit is that of the whole image.
    """
    if simplejpeg is None or not content.startswith(_JPEG):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours != "YCbCr" or height * width > max_pixels:
            return None
        share = 8 if side is None else eighths((width, height), side)
        high, wide = -(-height * share // 8), -(-width * share // 8)  # the decoder rounds up too
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", min_height=high, min_width=wide)
    except ValueError:
        return None
    return pixels


def eighths(size: tuple[int, int], side: int) -> int:
    """How many eighths of its size, 1 to 8, a JPEG is decoded at: the fewest that the square's `side` fits both ways.

    A decoder transforms fewer frequencies for these sizes, so the picture is smooth, and little is left to resize.
    """
    return next((share for share in range(1, 8) if min(size) * share >= 8 * side), 8)


def needs_all_coefficients(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Whether the whole image must be held in memory though it is decoded reduced: its colours come in several scans.

    The header has just been read from `file`, which stands behind the header of the first scan.
    """
    colours = int(getattr(image, "layers", 1))
    header_bytes = 6 + 2 * colours  # of a scan of all colours
    file.seek(-header_bytes, io.SEEK_CUR)
    return "progressive" in image.info or int.from_bytes(file.read(2), "big") != header_bytes
