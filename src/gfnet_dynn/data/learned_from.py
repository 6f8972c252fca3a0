"""What a network has learned from, and whether images that are held out now are copies of it: the guard of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.data.splits.split import Split
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.images.copies import distinct, find_copies
from gfnet_dynn.images.fingerprint import BYTES
from gfnet_dynn.system.structured import structured

RECORD = "learned_from"
"""Under this name, a run's record and a checkpoint's provenance hold it; fingerprints are in base64."""


@dataclass(frozen=True)
class LearnedFrom:
    """The images that a network learned from, those of the networks that it builds upon included.

    As fingerprints: of those that gradients came from, and of those that epochs or thresholds were chosen on. `unknown`
    are networks that it builds upon, of which it is not known what they learned from.
    """

    trained: bytes
    selected: bytes
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.trained) % BYTES or len(self.selected) % BYTES:
            raise ValueError("a fingerprint is cut off")

    def __or__(self, other: LearnedFrom) -> LearnedFrom:
        return LearnedFrom(
            distinct(self.trained + other.trained),
            distinct(self.selected + other.selected),
            tuple(dict.fromkeys((*self.unknown, *other.unknown))),
        )

    @property
    def images(self) -> bytes:
        """Fingerprints of all of them."""
        return distinct(self.trained + self.selected)


def learned_from_split(split: Split) -> LearnedFrom:
    """What a run on these data learns from, if it starts from nothing."""
    return LearnedFrom(split.fingerprints["train"], split.fingerprints["selection"])


def learned_from_provenance(provenance: Mapping[str, Any], file: Path) -> LearnedFrom:
    """What a checkpoint has learned from; where it does not record that, it is itself unknown.

    Raises:
        CheckpointError: the record is damaged.
    """
    if RECORD not in provenance:
        return learned_from_unknown(file)
    return structured(LearnedFrom, provenance[RECORD], f"{file}: {RECORD}", CheckpointError)


def learned_from_unknown(network: object) -> LearnedFrom:
    """What a network has learned from that has no record of it."""
    return LearnedFrom(b"", b"", (str(network),))


def held_out_copies(split: Split, learned: LearnedFrom) -> list[tuple[str, int]]:
    """Held-out images that are copies of images that a network has learned from.

    For the selection part only images that the network was trained on count. What is also a copy of an image that the
    split itself learns from does not count: that leak is in the data set, where `data check` finds it.

    Returns:
        For each its path and the index of the original in `learned.trained` or, for other parts, `learned.images`.
    """
    own, found = learned_from_split(split), []
    for part, files in split.parts.items():
        if part != "train":
            theirs, ours = (each.trained if part == "selection" else each.images for each in (learned, own))
            originals = find_copies(split.fingerprints[part], theirs)
            originals[find_copies(split.fingerprints[part], ours) >= 0] = -1
            found += [(files[index][0], int(originals[index])) for index in np.flatnonzero(originals >= 0)]
    return found
