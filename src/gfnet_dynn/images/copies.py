"""Which images are copies of others, by their fingerprints: the one guard against learning from held-out images.

Two images are copies where their pixels are equal, or where both hold: their mean colours differ by at most 2 levels in
each channel; and in one of the eight orientations the distance of their luminance frequencies is less than 2 grey
levels and less than a fifth of the contrast of either. So of nearly uniform images only equal pixels are copies. How
often this errs is measured by experiments/leak_guard.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from gfnet_dynn.images.fingerprint import BYTES, DIGEST, SIDE, unpack

SHARE = 0.2
"""Of its contrast, by how much the frequencies of an image's copy differ at most."""

_COLOUR, _DISTANCE = 2, 2.0  # grey levels
_CHUNK = 256

Indices = npt.NDArray[np.intp]


def find_copies(images: bytes, known: bytes, share: float = SHARE) -> Indices:
    """For each of N images the index of a known one that it is a copy of, or -1, by fingerprints; [N]."""
    found = np.full(len(images) // BYTES, -1)
    for these, those in _alike(images, known, share):
        found[these] = those
    digests = {digest: index for index, digest in enumerate(_digests(known))}
    same = np.array([digests.get(digest, -1) for digest in _digests(images)], np.intp)
    return np.where(same >= 0, same, found)


def group_copies(images: bytes, share: float = SHARE) -> list[list[int]]:
    """The groups of two and more images, by index, that are copies of each other, directly or through others."""
    first: dict[bytes, int] = {}
    leader = [first.setdefault(digest, index) for index, digest in enumerate(_digests(images))]
    distinct = sorted(first.values())
    packed = b"".join(images[BYTES * index : BYTES * (index + 1)] for index in distinct)
    for these, those in _alike(packed, packed, share):
        for one, other in zip(these.tolist(), those.tolist(), strict=True):
            low, high = sorted((_root(leader, distinct[one]), _root(leader, distinct[other])))
            leader[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(len(leader)):
        groups.setdefault(_root(leader, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def distinct(fingerprints: bytes) -> bytes:
    """The same fingerprints, each once, sorted."""
    return b"".join(sorted({fingerprints[start : start + BYTES] for start in range(0, len(fingerprints), BYTES)}))


def _root(leader: list[int], index: int) -> int:
    while leader[index] != index:
        index = leader[index]
    return index


def _digests(fingerprints: bytes) -> list[bytes]:
    return [fingerprints[start : start + DIGEST] for start in range(0, len(fingerprints), BYTES)]


def _alike(images: bytes, known: bytes, share: float) -> Iterator[tuple[Indices, Indices]]:
    """Pairs that are alike though their pixels may differ: indices of images, and of known ones, chunk by chunk."""
    (_, colours, waves), (_, known_colours, known_waves) = unpack(images), unpack(known)
    contrast, known_contrast = (np.linalg.norm(each, axis=1) for each in (waves, known_waves))
    order, known_order = contrast.argsort(), known_contrast.argsort()
    for start in range(0, len(order), _CHUNK):
        these = order[start : start + _CHUNK]
        low, high = contrast[these[0]], contrast[these[-1]]  # what is alike has about as much contrast
        span = np.searchsorted(known_contrast[known_order], [low - _DISTANCE, high + _DISTANCE])
        narrow = np.searchsorted(known_contrast[known_order], [low / (1 + share), high * (1 + share)])
        those = known_order[max(span[0], narrow[0]) : min(span[1], narrow[1])]
        product = np.full((len(these), len(those)), -np.inf, np.float32)
        for turned in _orientations(waves[these]):
            np.maximum(product, turned @ known_waves[those].T, out=product)
        ours, theirs = contrast[these, None], known_contrast[None, those]
        limit = np.minimum(share * np.minimum(ours, theirs), _DISTANCE)
        rows, columns = np.nonzero(ours**2 + theirs**2 - 2 * product < limit**2)
        near = np.abs(colours[these[rows]] - known_colours[those[columns]]).max(axis=1, initial=0) <= _COLOUR
        yield these[rows[near]], those[columns[near]]


def _orientations(waves: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """The same images turned and mirrored, eight times [N, 24]: a mirrored wave of odd order changes its sign."""
    order = np.arange(1, SIDE * SIDE)
    down, across = np.divmod(order, SIDE)
    for transposed in (waves, waves[:, across * SIDE + down - 1]):
        for flip_down in (False, True):
            for flip_across in (False, True):
                yield transposed * np.where(
                    (down * flip_down + across * flip_across) % 2, np.float32(-1), np.float32(1)
                )
