"""Fingerprints of decoded images: 32 bytes by which a copy is recognised, however it is stored, resized or turned.

Each holds 5 bytes of the SHA-256 of the pixels, 3 bytes of mean colour, and 24 signed bytes of luminance: its lowest
frequencies by the discrete cosine transform, 5 x 5 without the mean, in steps of the square root of a grey level. The
fingerprints of N images are one `bytes` of 32 N; `images.copies` compares them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfnet_dynn.errors import ImageError
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnStep, ignore_steps

BYTES = 32
"""Size of one fingerprint."""

DIGEST, COLOURS, SIDE = 5, 3, 5
"""Bytes of the digest, bytes of the mean colour, frequencies of each direction."""

_STEPS = 11.0  # for the square root of one grey level: 127 steps reach 133
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG
_THUMBNAIL = 32  # pixels a side
_MOST_THREADS = 8


def fingerprint(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The fingerprint of one image, RGB [height, width, 3]."""
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()[:DIGEST]
    small = Image.fromarray(pixels).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR)
    thumbnail = np.asarray(small, np.float64)
    waves = ((_cosines() @ (thumbnail @ _LUMINANCE) @ _cosines().T) * _weights()).ravel()[1:]
    steps = np.rint(np.sign(waves) * np.sqrt(np.abs(waves)) * _STEPS).clip(-127, 127).astype(np.int8)
    colour: bytes = np.rint(thumbnail.mean(axis=(0, 1))).astype(np.uint8).tobytes()
    return b"".join((digest, colour, steps.tobytes()))


def unpack(fingerprints: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Digests [N, 5], mean colours [N, 3], and luminance frequencies [N, 24] in weighted grey levels."""
    rows = np.frombuffer(fingerprints, np.uint8).reshape(-1, BYTES)
    roots = rows[:, DIGEST + COLOURS :].view(np.int8).astype(np.float32) / np.float32(_STEPS)
    waves: npt.NDArray[np.float32] = roots * np.abs(roots)
    return rows[:, :DIGEST], rows[:, DIGEST : DIGEST + COLOURS].astype(np.int16), waves


def fingerprint_files(
    files: Sequence[Path], on_step: OnStep = ignore_steps, decode: DecodeOptions = DEFAULT
) -> tuple[dict[Path, bytes], dict[Path, str]]:
    """Decode every file once: the fingerprint of each that can be decoded, and for the others the reason."""

    def attempt(file: Path) -> bytes | ImageError:
        try:
            return fingerprint(read_image(file, decode))
        except ImageError as error:
            return error

    found: dict[Path, bytes] = {}
    unreadable: dict[Path, str] = {}
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for done, (file, result) in enumerate(zip(files, pool.map(attempt, files), strict=True), start=1):
            if isinstance(result, ImageError):
                unreadable[file] = str(result)
            else:
                found[file] = result
            on_step(done, len(files))
    return found, unreadable


def _cosines() -> npt.NDArray[np.float64]:
    """The first rows of the orthonormal DCT-II of the thumbnail's side, divided by its square root: [5, 32]."""
    order, place = np.arange(SIDE)[:, None], np.arange(_THUMBNAIL)[None] + 0.5
    waves: npt.NDArray[np.float64] = np.cos(np.pi / _THUMBNAIL * order * place)
    return waves * np.where(order, np.sqrt(2), 1) / _THUMBNAIL


def _weights() -> npt.NDArray[np.float64]:
    """Of each frequency, [5, 5]: low ones are larger in natural images, and would decide alone."""
    square = np.arange(SIDE, dtype=np.float64) ** 2
    return np.sqrt(np.sqrt(square[:, None] + square[None]))
