"""SyntheticScenes: generated, remote-sensing-like scenes for demonstrations and tests.

10 classes, by default 128 + 40 images of 64 × 64 px for each, drawn from a seed; no source, no licence, no download.
They are NO substitute for real data: accuracy on them does not carry over to real scenes. Their difficulty is graded,
so that an early-exit network has easy images for its early exits and hard ones for the final exit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gfnet_dynn.data.synthetic.canvas import Canvas, soft_noise
from gfnet_dynn.data.synthetic.drawing import DRAWINGS
from gfnet_dynn.errors import DataError, StorageError
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.system.storage import build_folder, make_folder, write_json

CLASSES: tuple[str, ...] = tuple(DRAWINGS)
"""Class names in the order of their indices, which is the order of their folders."""

GENERATOR_VERSION = 1
"""Increased whenever the same seed draws other images, so that older files on disk are not taken for these."""

_VAL_START = 1_000_000  # the index of the first validation image: it stays the same however many train images there are
_SUPERSAMPLING = 3
_DESCRIPTION = "synthetic.json"

_CONFUSED_WITH: Mapping[str, tuple[str, ...]] = {
    "dense_housing": ("parking_lot", "fields"),
    "desert": ("fields", "river"),
    "fields": ("dense_housing", "forest"),
    "forest": ("fields", "river"),
    "harbour": ("parking_lot", "river"),
    "parking_lot": ("dense_housing", "harbour"),
    "river": ("runway", "forest"),
    "roundabout": ("storage_tanks", "runway"),
    "runway": ("river", "roundabout"),
    "storage_tanks": ("roundabout", "parking_lot"),
}


def draw_scene(class_index: int, seed: int, index: int, size: int = 64) -> NDArray[np.uint8]:
    """Draw one scene [size, size, 3], RGB 0-255; the same arguments give the same bytes.

    `class_index` is a position in `CLASSES`, `index` that of the image within its class, `size` a side of at least 16
    px.

    Raises:
        DataError: an argument outside its range.
    """
    if size < 16:
        raise DataError(f"a synthetic scene of {size} px is too small: at least 16 px")
    rng = _generator(class_index, seed, index)
    difficulty = _draw_difficulty(rng)
    scene = _draw_clean(rng, CLASSES[class_index], difficulty, size)
    rivals = _CONFUSED_WITH[CLASSES[class_index]]
    if difficulty > 0.25:
        rival = _draw_clean(rng, rivals[rng.integers(len(rivals))], difficulty, size)
        scene = _blend_in(rng, scene, rival, difficulty)
    return _degrade(rng, scene, difficulty)


def _generator(class_index: int, seed: int, index: int) -> np.random.Generator:
    if not 0 <= class_index < len(CLASSES):
        raise DataError(f"no synthetic class {class_index}: choose 0 to {len(CLASSES) - 1}")
    if seed < 0 or index < 0:
        raise DataError(f"seed {seed} and index {index} of a synthetic scene must be 0 or more")
    return np.random.default_rng([seed, class_index, index])


def _draw_difficulty(rng: np.random.Generator) -> float:
    # The power leaves half of the images below 0.38, which a shallow network gets right, and a tenth above 0.86.
    return float(rng.random() ** 1.4)


def _draw_clean(rng: np.random.Generator, name: str, difficulty: float, size: int) -> NDArray[np.float32]:
    canvas = Canvas(rng, _SUPERSAMPLING * size)
    DRAWINGS[name](canvas, rng, difficulty * rng.uniform(0.6, 1.0))
    return np.asarray(canvas.image.reduce(_SUPERSAMPLING), np.float32)


def _blend_in(
    rng: np.random.Generator, scene: NDArray[np.float32], rival: NDArray[np.float32], difficulty: float
) -> NDArray[np.float32]:
    """Lay `rival` [S, S, 3] over one soft-edged side of `scene` [S, S, 3], and thinly over all of it."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-0.5, 0.5, len(scene), dtype=np.float32)
    across = np.cos(angle) * along[:, None] + np.sin(angle) * along[None, :]
    edge = 0.5 - 0.36 * difficulty * rng.uniform(0.5, 1.0)
    beyond = 1 / (1 + np.exp(-40 * (across - edge + 0.05 * soft_noise(rng, len(scene), (6,)))))
    weight: NDArray[np.float32] = np.maximum(beyond, 0.3 * difficulty * rng.random()).astype(np.float32)[..., None]
    return scene + weight * (rival - scene)


def _degrade(rng: np.random.Generator, scene: NDArray[np.float32], difficulty: float) -> NDArray[np.uint8]:
    """Illumination, cloud, haze, blur and sensor noise on `scene` [S, S, 3]; all but the first grow with difficulty."""
    size = len(scene)
    tint = rng.uniform(0.8, 1.15) * (1 + rng.normal(0, 0.03 + 0.09 * difficulty, 3))
    lit = scene * tint.astype(np.float32)
    grey = lit.mean(axis=2, keepdims=True)
    lit += difficulty * rng.uniform(0.5, 1.0) * (grey - lit)
    cloud = (soft_noise(rng, size, (3, 6)) - 0.6).clip(0, 1)[..., None] * 1.5 * difficulty * rng.random()
    haze = (0.3 * difficulty * rng.uniform(0.3, 1.0) + cloud).clip(0, 0.8)
    hazy = lit + haze * (rng.uniform(150, 215) - lit)
    blurred = Image.fromarray(hazy.clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(size / 64 * difficulty * rng.random())
    )
    noise = (2 + 7 * difficulty * rng.random()) * rng.standard_normal(scene.shape, dtype=np.float32)
    return (np.asarray(blurred, np.float32) + noise).clip(0, 255).astype(np.uint8)


def write_synthetic(
    root: Path,
    *,
    train_per_class: int = 128,
    val_per_class: int = 40,
    size: int = 64,
    seed: int = 0,
    on_step: OnStep = ignore_steps,
) -> Path:
    """Write the data set as `root/{train,val}/CLASS/NNNN.png`, with its description as `root/synthetic.json`.

    A complete data set of the same parameters is kept, also one that another process wrote in the meantime. The
    validation images are the same ones for every `train_per_class`.

    Raises:
        DataError: an argument outside its range.
        StorageError: `root` has other content, or cannot be written.
    """
    counts = {"train": train_per_class, "val": val_per_class}
    if not (1 <= train_per_class <= _VAL_START and val_per_class >= 1):
        raise DataError(f"cannot write {train_per_class} + {val_per_class} images a class: at least 1 of each")
    described = {
        "purpose": "Generated scenes for demonstrations and tests: no substitute for real data, and accuracy on them "
        "does not carry over to real scenes.",
        "generator_version": GENERATOR_VERSION,
        "size_px": size,
        "seed": seed,
        "images_per_class": counts,
        "classes": list(CLASSES),
    }
    if _is_whole(root, described):
        return root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise StorageError(f"{root} is not empty and has no such synthetic scenes: remove it or choose another folder")
    try:
        with build_folder(root) as unfinished:
            _write_images(unfinished, counts, size, seed, on_step)
            write_json(unfinished / _DESCRIPTION, described)
    except StorageError:
        if not _is_whole(root, described):
            raise
    except OSError as error:
        raise StorageError(
            f"cannot write the synthetic scenes to {root}: {error.strerror}; free space or choose another folder"
        ) from error
    return root


def _is_whole(root: Path, described: Mapping[str, Any]) -> bool:
    try:
        found = json.loads((root / _DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    counts: Mapping[str, int] = described["images_per_class"]
    return found == described and all(
        len(list((root / split / name).glob("*.png"))) == count for split, count in counts.items() for name in CLASSES
    )


def _write_images(folder: Path, counts: Mapping[str, int], size: int, seed: int, on_step: OnStep) -> None:
    total, done = len(CLASSES) * sum(counts.values()), 0
    for split, count in counts.items():
        for class_index, name in enumerate(CLASSES):
            place = make_folder(folder / split / name)
            for number in range(count):
                image = draw_scene(class_index, seed, number + (_VAL_START if split == "val" else 0), size)
                Image.fromarray(image).save(place / f"{number:04d}.png", compress_level=1)
                done += 1
                on_step(done, total)
