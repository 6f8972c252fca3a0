"""What an image file is, from its first bytes: nothing is decoded, and little memory is needed whatever it holds."""

from __future__ import annotations

import ctypes
import struct
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from gfnet_dynn.images.files import SUFFIXES
from gfnet_dynn.wording import counted

HEAD_BYTES = 32

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    b"BM": "BMP",
}
_OTHERS = {  # at which byte, and how, formats begin that users have and this cannot decode
    "JPEG 2000": (0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    "GIF": (0, (b"GIF8",)),
    "HEIF or AVIF": (4, (b"ftyp",)),
    "HDF5 or NetCDF": (0, (b"\x89HDF", b"CDF")),
    "NITF": (0, (b"NITF",)),
    "PDF": (0, (b"%PDF",)),
    "ZIP": (0, (b"PK\x03\x04",)),
}
_TYPES = {  # of the values of a tag: how `struct` reads them if they are whole numbers, and their bytes; TIFF 6.0
    **dict.fromkeys((1, 2, 6, 7), ("B", 1)),
    **dict.fromkeys((3, 8), ("H", 2)),
    **dict.fromkeys((4, 9, 11, 13), ("I", 4)),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), ("", 8)),
}
_MOST_TAG_BYTES = 1 << 26  # all tags of a sound file together need far less, also with long lists of strips
_SAMPLE_KINDS = {1: "uint", 2: "int", 3: "float"}
_NEEDED = (_BITS, _SAMPLES, _PLANAR, _SAMPLE_FORMAT) = (258, 277, 284, 339)  # tags of TIFF 6.0
_SEPARATE = 2
_MOST_BANDS = 4
_CONVERT = "`gdal_translate -b 1 -b 2 -b 3 -ot Byte -scale LOW HIGH 0 255 IN.tif OUT.tif` converts it"


class UnsuitableImage(Exception):  # noqa: N818 # no error of the file: becomes an ImageError that names it
    """A file that may be sound but is not read; the message goes on after its name and states what to do."""


def identify(head: bytes) -> str:
    """`JPEG`, `PNG`, `TIFF`, `BMP` or `WEBP`; raises UnsuitableImage, which names another known format."""
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    other = [name for name, (at, starts) in _OTHERS.items() if head[at:].startswith(starts)]
    what = f"is a {other[0]} file" if other else "is not an image in a known format" if head else "is empty"
    raise UnsuitableImage(f"{what}: give JPEG, PNG, TIFF, BMP or WebP ({', '.join(sorted(SUFFIXES))})")


def open_image(kind: str, file: BinaryIO) -> ImageFile.ImageFile:
    """An image whose pixels are not decoded yet, but for WebP: see `webp_size`.

    Pillow's plugins are used directly: `Image.open` has a limit and a warning of its own. Raises UnsuitableImage for
    bands or samples that cannot be read.
    """
    what = _require_suitable_tiff(file) if kind == "TIFF" else ""
    file.seek(0)
    try:
        image = _PLUGINS[kind](file)
    except SyntaxError as error:
        if not what:
            raise
        raise UnsuitableImage(f"{what} that cannot be read ({error}): {_CONVERT}") from error
    if image.tile and image.tile[0].codec_name == "libtiff":
        _silence_libtiff()
    return image


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height in pixels of a WebP; see RFC 9649. Pillow allocates memory for all pixels to find that out."""
    chunk = head[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _require_suitable_tiff(file: BinaryIO) -> str:
    """Refuse what Pillow would read wrongly without a warning, or needs too much memory for; what it is, otherwise."""
    tags = _tiff_tags(file)
    samples, bits = tags.get(_SAMPLES, (1,))[0], max(tags.get(_BITS, (1,)))
    kind = f"{_SAMPLE_KINDS.get(tags.get(_SAMPLE_FORMAT, (1,))[0], 'other')}{bits}"
    what = f"is a TIFF of {counted(samples, 'band')} of {kind}"
    if samples > _MOST_BANDS:
        raise UnsuitableImage(f"{what}: select the 3 that the network takes as red, green and blue; {_CONVERT}")
    if samples > 1 and bits > 8 and tags.get(_PLANAR, (1,))[0] == _SEPARATE:
        raise UnsuitableImage(f"{what}, each in a plane of its own: store it interleaved by pixel; {_CONVERT}")
    return what


def _tiff_tags(file: BinaryIO) -> dict[int, tuple[int, ...]]:
    """The first values of the tags that are needed here, of the first image in a TIFF or BigTIFF."""
    file.seek(0)
    head = file.read(16)
    order, big = "<" if head.startswith(b"I") else ">", head[2:4] in (b"+\0", b"\0+")
    file.seek(struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0])
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    listing = file.read(min(count, 1 << 16) * entry.size)
    found: dict[int, tuple[int, ...]] = {}
    total = 0
    for tag, kind, number, inline in entry.iter_unpack(listing):
        code, size = _TYPES.get(kind, ("B", 1))
        total += number * size
        if tag in _NEEDED and code in "BHI":
            if number * size > len(inline):
                file.seek(struct.unpack(order + ("Q" if big else "I"), inline)[0])
                inline = file.read(_MOST_BANDS * size)  # noqa: PLW2901 # the values lie elsewhere
            shown = min(number, _MOST_BANDS, len(inline) // size)
            found[tag] = struct.unpack_from(f"{order}{shown}{code}", inline) or (1,)
    if total > _MOST_TAG_BYTES:
        raise UnsuitableImage(f"has {total / 1e6:.0f} MB of TIFF tags, more than any sound image: write it anew")
    return found


@cache
def _silence_libtiff() -> None:
    """Keep Pillow's libtiff from writing to the terminal what Pillow raises as an error."""
    places = sorted(Path(PIL.__file__).parent.parent.glob("[Pp]illow.libs/libtiff*"))
    places += sorted(Path(PIL.__file__).parent.glob(".dylibs/libtiff*"))
    try:
        library = ctypes.CDLL(str(places[0]) if places else find_library("tiff") or "libtiff.so")
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
    except (OSError, AttributeError):  # linked into Pillow, as on Windows: its lines are seen, nothing worse
        return
