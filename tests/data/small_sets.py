"""Small data sets for tests: images, archives of them, and their place in the registry."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from gfnet_dynn.data.catalogue.configs import Archive, KnownSet
from tests.data.hub import REVISION

ARCHIVE = Archive("owner/scenes", REVISION, "scenes.zip", "", "scenes/images", unpacked_limit_gb=0.01)


def picture(number: int, size: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8))


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "PNG")
    return file.getvalue()


def write_picture(path: Path, number: int, size: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, size).save(path)
    return path


def scene_zip(classes: int = 2, per_class: int = 5, extra: dict[str, bytes] | None = None) -> bytes:
    """An archive of scenes/images/classNN/NN.png, and whatever `extra` names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for label in range(classes):
            for number in range(per_class):
                archive.writestr(f"scenes/images/class{label:02}/{number:02}.png", png(label * 100 + number))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return file.getvalue()


def archive_of(content: bytes) -> Archive:
    return replace(ARCHIVE, sha256=hashlib.sha256(content).hexdigest())


def known_set(content: bytes, images: int = 10, per_class: int = 5) -> KnownSet:
    return KnownSet(images, (per_class, per_class), "public domain", "a test", archive_of(content))


def address(archive: Archive = ARCHIVE) -> str:
    """Path of the archive on a hub."""
    return f"datasets/{archive.repository}/resolve/{archive.revision}/{archive.file}"
