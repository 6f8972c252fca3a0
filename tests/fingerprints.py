"""Fingerprints of files, and images stored anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from gfnet_dynn.images.copies import distinct
from gfnet_dynn.images.fingerprint import fingerprint_files


def of_files(files: Iterable[Path]) -> bytes:
    """Their distinct fingerprints, sorted."""
    return distinct(b"".join(fingerprint_files(list(files))[0].values()))


def store_anew(source: Path, target: Path, *, scale: float = 1.0, turned: bool = False) -> Path:
    """The same image as JPEG or WebP of quality 75: other bytes and other pixels."""
    image = Image.open(source).convert("RGB")
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    target.parent.mkdir(parents=True, exist_ok=True)
    (image.transpose(Image.Transpose.ROTATE_90) if turned else image).save(target, quality=75)
    return target


def write_scene(path: Path, seed: int, side: int = 64) -> Path:
    """An image with as much contrast in its lowest frequencies as a scene has; each seed another one."""
    spots = np.random.default_rng(seed).integers(40, 216, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path
