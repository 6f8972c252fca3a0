"""Image files that Pillow can read but not write: 16-bit colour, written by hand."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff_bytes(pixels: Pixels, order: Literal["<", ">"] = "<", *, planar: bool = False) -> bytes:
    """An uncompressed TIFF 6.0 file of one strip, or of one strip for each band.

    Args:
        pixels: [height, width, bands] of any NumPy number.
        order: of the bytes.
        planar: each band in a plane of its own.
    """
    height, width, bands = pixels.shape
    stored = np.moveaxis(pixels, 2, 0) if planar else pixels
    data = stored.astype(pixels.dtype.newbyteorder(order)).tobytes()
    strips = bands if planar else 1
    colour = 2 if bands >= 3 else 1
    tags: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [8 * pixels.dtype.itemsize] * bands,
        259: [1],  # no compression
        262: [colour],
        273: [0] * strips,  # where the strips begin: filled in below
        277: [bands],
        278: [height],
        279: [len(data) // strips] * strips,
        284: [2 if planar else 1],
        **({338: [0]} if bands == 4 else {}),  # the fourth band is not alpha
        339: [_SAMPLE_FORMATS[pixels.dtype.kind]] * bands,
    }
    values_at = 8 + 2 + 12 * len(tags) + 4
    values_length = sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [values_at + values_length + index * (len(data) // strips) for index in range(strips)]
    entries, long_values = b"", b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}I", *values)
        inline = packed if len(values) == 1 else struct.pack(f"{order}I", values_at + len(long_values))
        long_values += packed if len(values) > 1 else b""
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + inline
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    return head + entries + bytes(4) + long_values + data


def png_bytes(width: int, height: int, samples: bytes, *, bits: int = 8, colour_type: int = 2) -> bytes:
    """A PNG file from its filtered, not yet compressed samples; they may be fewer than the size guarantees."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(samples)) + chunk(b"IEND", b"")


def png16_bytes(pixels: npt.NDArray[np.uint16]) -> bytes:
    """[height, width, 3] of 16 bit as PNG."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_bytes(width, height, rows, bits=16)
