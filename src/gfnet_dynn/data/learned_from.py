"""What a network has learned from, and that nothing it is chosen by or reported on is a copy of that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import SceneData, prepare
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.split import UNLABELLED, Files, Split, fingerprint_of, refuse_unreadable
from gfnet_dynn.errors import CheckpointError, DataError
from gfnet_dynn.images.copies import distinct, find_copies
from gfnet_dynn.images.files import find_images, no_images
from gfnet_dynn.images.fingerprint import BYTES, fingerprint_files
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnProgress, OnStep, ignore_steps
from gfnet_dynn.spec.network import InputSpec
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
    """What a checkpoint has learned from, itself where it has no record; a CheckpointError where that is damaged."""
    if RECORD not in provenance:
        return learned_from_unknown(file)
    return structured(LearnedFrom, provenance[RECORD], f"{file}: {RECORD}", CheckpointError)


def learned_from_unknown(network: object) -> LearnedFrom:
    """What a network has learned from that has no record of it."""
    return LearnedFrom(b"", b"", (str(network),))


def held_out_copies(split: Split, learned: LearnedFrom) -> list[str]:
    """Paths of held-out images that are copies of images that a network has learned from.

    For the selection part only images that the network was trained on count. What is also a copy of an image that the
    split itself learns from does not count: that leak is in the data set, where `data check` finds it.
    """
    own, found = learned_from_split(split), list[str]()
    for part, files in split.parts.items():
        if part != "train":
            theirs, ours = (each.trained if part == "selection" else each.images for each in (learned, own))
            seen = find_copies(split.fingerprints[part], theirs) >= 0
            seen &= find_copies(split.fingerprints[part], ours) < 0
            found += [files[index][0] for index in np.flatnonzero(seen)]
    return found


@dataclass(frozen=True)
class UnlabelledImages:
    """The images below a folder: absolute paths with `UNLABELLED`, files skipped with the reason, and fingerprints."""

    files: Files
    skipped: dict[str, str]
    fingerprints: bytes

    @property
    def sha256(self) -> str:
        """Of all fingerprints; it identifies the images."""
        return hashlib.sha256(self.fingerprints).hexdigest()


def find_unlabelled(
    root: Path, on_bad_image: str, progress: OnStep = ignore_steps, decode: DecodeOptions = DEFAULT
) -> UnlabelledImages:
    """List the images below a folder and decode each once, refusing or skipping those that cannot be decoded.

    Raises:
        DataError: no such folder, no images in it, or files that cannot be decoded.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} of unlabelled images: check --unlabelled")
    found = find_images(root)
    fingerprints, unreadable = fingerprint_files(found.images, progress, decode)
    skipped = {path.relative_to(root).as_posix(): reason for path, reason in unreadable.items()}
    refuse_unreadable(skipped, on_bad_image)
    if not fingerprints:
        raise DataError(f"no usable images: {no_images(root, found.skipped)}; check --unlabelled")
    files = tuple((str(path.resolve()), UNLABELLED) for path in fingerprints)
    return UnlabelledImages(files, skipped, b"".join(fingerprints.values()))


def require_unseen(unlabelled: UnlabelledImages, root: Path, split: Split) -> None:
    """Refuse copies of images that the split holds out, with a DataError that names one."""
    if copies := held_out_copies(split, LearnedFrom(unlabelled.fingerprints, b"")):
        raise DataError(
            f"{len(copies)} of the held-out images, such as {root / copies[0]}, have a copy under --unlabelled: a "
            "student that learned from it could not be evaluated on it; remove the copies, or choose another folder"
        )


@dataclass(frozen=True)
class TrainedOn:
    """The data that a checkpoint learned from, as it records them; the fingerprint is as `Split` has it.

    `split` is the split itself, where it was kept beside the checkpoint.
    """

    data_set: str
    fingerprint: str
    settings: SplitSettings
    split: Split | None
    learned_from: LearnedFrom


def prepare_report(
    source: Source, image: InputSpec, trained_on: TrainedOn, on_progress: OnProgress
) -> tuple[SceneData, str | None]:
    """The images to report on: those that were held out in training, where these are the images of training.

    Returned with what the user should know of them, or None.

    Raises:
        DataError: images to report on are missing or replaced, or copies of images that the network has learned from.
    """
    then = trained_on.split
    if then is None or source.name != trained_on.data_set:
        data = prepare(source, image, trained_on.settings, None, on_progress)
        _require_unseen(data, trained_on.learned_from)
        return data, None
    data = SceneData(source, then, image)
    if fingerprint_of(source) == trained_on.fingerprint:
        return data, None
    _require_same(data, partial(on_progress, f"Checking the images of {source.name}"))
    return data, (
        f"the images of {source.name} under {source.root} changed since the checkpoint was trained; those held out "
        "then are reported on"
    )


def _require_same(data: SceneData, on_step: OnStep) -> None:
    """The images to report on are still those that were held out in training, or copies of them."""
    split, part = data.split, data.split.report_part
    files = [data.source.root / path for path, _ in split.parts[part]]
    found, unreadable = fingerprint_files(files, on_step, data.source.decode)
    same = find_copies(b"".join(found.values()), split.fingerprints[part]) >= 0
    others = [file for file, copy in zip(found, same.tolist(), strict=True) if not copy]
    if changed := [*unreadable, *others]:
        raise DataError(
            f"{len(changed)} of the images held out in training are missing or others now, such as {changed[0]}; "
            "restore them"
        )


def _require_unseen(data: SceneData, learned_from: LearnedFrom) -> None:
    reported = dict(data.split.parts[data.split.report_part])
    if seen := [path for path in held_out_copies(data.split, learned_from) if path in reported]:
        raise DataError(
            f"the network was trained or selected on {len(seen)} of the {len(reported)} images to be reported on, such "
            f"as {data.source.root / seen[0]}: restore the images as they were in training, evaluate the checkpoint "
            "inside its run's folder, or choose other images"
        )
