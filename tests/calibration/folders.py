"""Folders of labelled images for the tiny bundle."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gfnet_dynn.runtime.segments import SegmentedNet
from tests import bundles
from tests.runtime.engines import ONNXRUNTIME


@cache
def _tiny() -> SegmentedNet:
    return SegmentedNet(bundles.manifest(), bundles.segments(), "fp32", ONNXRUNTIME)


def labels_of(images: bundles.Images, wrong: float = 0.1, seed: int = 0) -> npt.NDArray[np.intp]:
    """What the tiny bundle's final classifier says, but for a share that gets another class."""
    said = _tiny().all_exits(images)[0][:, -1].argmax(axis=1)
    generator = np.random.default_rng(seed)
    other = (said + generator.integers(1, len(bundles.CLASSES), len(said))) % len(bundles.CLASSES)
    return np.asarray(np.where(generator.random(len(said)) < wrong, other, said))


def write_scenes(root: Path, images: bundles.Images, labels: npt.NDArray[np.intp] | None = None) -> list[Path]:
    """Each image without loss in the folder of its class; their paths in the order of the images."""
    paths = []
    for number, (pixels, label) in enumerate(zip(images, labels_of(images) if labels is None else labels, strict=True)):
        path = root / bundles.CLASSES[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def write_few(root: Path, names: Sequence[str]) -> list[Path]:
    """A different image at each path."""
    paths = [root / name for name in names]
    for path, pixels in zip(paths, bundles.images(len(paths), seed=7), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return paths
