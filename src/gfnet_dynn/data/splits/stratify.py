"""One seeded cut of a list of images in two, with the same share of every class on either side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfnet_dynn.errors import DataError


def stratified(
    files: Sequence[tuple[str, int]], classes: Sequence[str], share: float, seed: int
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Cut `files` so that ``round(share * n)`` of the n images of each class come into the first part.

    Each part has at least one image of every class. The cut depends on the seed and, class by class, on the set of
    paths: neither the order of `files` nor the other classes change it.

    Args:
        files: paths, each with its class index.
        classes: names of the classes, in the order of their indices.
        share: what the first part gets of every class, above 0 and below 1.
        seed: 0 or more; the same seed gives the same cut.

    Returns:
        The two parts, each sorted by class index and path.

    Raises:
        DataError: `share` or `seed` out of range, or a class with a single image.
    """
    if not 0 < share < 1:
        raise DataError(f"cannot cut a data set at {share}: the share must be above 0 and below 1, such as 0.8")
    if seed < 0:
        raise DataError(f"cannot cut a data set with the seed {seed}: it must be 0 or more")
    first: list[tuple[str, int]] = []
    second: list[tuple[str, int]] = []
    for index, paths in sorted(_by_class(files).items()):
        _require_two(paths, classes[index])
        taken = _choose(len(paths), share, np.random.default_rng((seed, index)))
        for position, path in enumerate(paths):
            (first if position in taken else second).append((path, index))
    return first, second


def _by_class(files: Sequence[tuple[str, int]]) -> dict[int, list[str]]:
    paths: dict[int, list[str]] = {}
    for path, index in sorted(files):
        paths.setdefault(index, []).append(path)
    return paths


def _require_two(paths: Sequence[str], name: str) -> None:
    if len(paths) < 2:
        raise DataError(
            f"the class '{name}' has only one image, {paths[0]}, and two parts need one each: add images or drop the "
            "class"
        )


def _choose(count: int, share: float, generator: np.random.Generator) -> set[int]:
    size = min(max(round(share * count), 1), count - 1)
    return set(generator.permutation(count)[:size].tolist())
