"""Accuracy of a map against that of its chips, and its seams with and without blending.

    python experiments/map_accuracy.py EUROSAT_VAL [--write map_accuracy]

Scenes are tiled from val images of EuroSAT, so the class of every cell is known: in regions of 8 × 8 images of one
class, and shuffled, where each chip that lies half over its neighbours shows several classes. `chips` is the
accuracy of the images one by one. Each map counts its cells: one a chip, half chips that are blended, half chips by the
nearest chip alone. A seam is a pair of neighbouring cells whose true class is the same and whose mapped class differs;
`inner` leaves out cells that touch another class. The rule for unknown images is off. Prints JSON.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from figures import arguments, write_figures
from mosaic import CHIP, GSD_M, Images, by_class, write_mosaic

from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import MapRequest, map_scene

MODEL, SEED, REGION = "sentinel2", 0, 8
ROWS, COLUMNS = 6, 10  # regions: the smallest class has 400 images
HALF, WHOLE = CHIP * GSD_M / 2, CHIP * GSD_M
MAPS: dict[str, dict[str, Any]] = {
    "one cell a chip": {"blend": False, "stride": WHOLE},
    "half chips, blended": {"blend": True, "stride": HALF},
    "half chips, nearest": {"blend": False, "stride": HALF},
}

Classes = npt.NDArray[np.intp]


def arranged(images: Images, *, shuffled: bool) -> tuple[list[list[Path]], Classes]:
    """Images by row and column, and the index of the class of each; no image comes twice."""
    generator, names = np.random.default_rng(SEED), sorted(images)
    pools = {name: list(generator.permutation(np.array(paths, object))) for name, paths in images.items()}
    order = generator.permutation(np.arange(ROWS * COLUMNS) % len(names)).reshape(ROWS, COLUMNS)
    classes = order.repeat(REGION, axis=0).repeat(REGION, axis=1)
    if shuffled:
        classes = generator.permutation(classes.ravel()).reshape(classes.shape)
    return [[pools[names[index]].pop() for index in row] for row in classes], classes


def seams(mapped: Classes, truth: Classes) -> float:
    """Share of neighbouring cells of one true class that are mapped to two."""
    same, differ = 0, 0
    for axis in (0, 1):
        alike = np.diff(truth, axis=axis) == 0
        same += int(alike.sum())
        differ += int((alike & (np.diff(mapped, axis=axis) != 0)).sum())
    return differ / same


def inner(truth: Classes) -> npt.NDArray[np.bool_]:
    """Cells all of whose neighbours have the same class."""
    padded = np.pad(truth, 1, mode="edge")
    height, width = truth.shape
    around = [padded[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.all([each == truth for each in around], axis=0))


def figures(scene: Path, truth: Classes, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """Accuracy and seams of each map of a scene."""
    found = {}
    for name, options in MAPS.items():
        output = scene.with_name("classes.tif")
        map_scene(MapRequest(bundle=find_bundle(MODEL), scene=scene, output=output, threshold=thresholds, **options))
        with rasterio.open(output) as dataset:
            mapped = dataset.read(1).astype(np.intp)
        factor = len(mapped) // len(truth)
        true = truth.repeat(factor, axis=0).repeat(factor, axis=1)
        correct, inside = mapped == true, inner(true)
        inner_accuracy = float(correct[inside].mean()) if inside.any() else None
        found[name] = {"accuracy": float(correct.mean()), "inner": inner_accuracy, "seams": seams(mapped, true)}
    return found


def at(places: list[list[Path]], row: int, column: int) -> Path:
    """The image at a place."""
    return places[row][column]


def main() -> None:
    """Compare both arrangements."""
    given = arguments("eurosat")
    images, classifier = by_class(given.eurosat), load(MODEL, threads=1)
    thresholds = classifier.policy().thresholds
    names, results = list(classifier.manifest.classes), {}
    assert names == sorted(images)
    for name in ("regions", "shuffled"):
        places, truth = arranged(images, shuffled=name == "shuffled")
        answers = classifier.classify([path for row in places for path in row], threshold=thresholds, batch=16)
        labels = np.array([names.index(each.label) for each in answers])
        with tempfile.TemporaryDirectory() as folder:
            scene = Path(folder) / "scene.tif"
            write_mosaic(scene, len(places), len(places[0]), partial(at, places))
            maps = figures(scene, truth, thresholds)
        results[name] = {"images": truth.size, "chips": float((labels == truth.ravel()).mean()), **maps}
    command = "python experiments/map_accuracy.py EUROSAT_VAL --write map_accuracy"
    write_figures({"command": command, "model": MODEL, "seed": SEED, "scenes": results}, given.write)


if __name__ == "__main__":
    main()
