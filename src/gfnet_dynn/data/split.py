"""Which image serves for what: train, selection, val and test, written to a file and read again by every later run.

train: gradients. selection: epochs, freezing, thresholds; held out of train. val or test: reported, never looked at to
choose anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.folders import ClassFolders, require_classes, scan_folders, stratified
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.source import Source
from gfnet_dynn.errors import DataError
from gfnet_dynn.images.fingerprint import BYTES, fingerprint_files
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.system.structured import structured_file

Files = tuple[tuple[str, int], ...]
"""Paths relative to the data set's root (POSIX), each with its class index."""

UNLABELLED = -1
"""In place of a class index."""


@dataclass(frozen=True)
class Split:
    """The images of one data set, each in one part.

    Attributes:
        fingerprint: SHA-256 over the paths and sizes of all images found, to notice that the data changed.
        classes: names; a label is a position here.
        parts: `train`, `selection`, `val` and, where the data set has one, `test`.
        fingerprints: of the images of each part, in order, as `images.fingerprint` makes them.
    """

    data_set: str
    settings: SplitSettings
    fingerprint: str
    classes: tuple[str, ...]
    parts: Mapping[str, Files]
    fingerprints: Mapping[str, bytes]
    skipped: Mapping[str, str]

    @property
    def report_part(self) -> str:
        """The part that results are reported on: `test` where there is one, else `val`."""
        return "test" if "test" in self.parts else "val"


@dataclass(frozen=True)
class DataRecord:
    """What identifies data and split in a run's record; the numbers of images in each part and of unreadable ones."""

    data_set: str
    fingerprint: str
    split: SplitSettings
    images: Mapping[str, int]
    skipped: int


def find_split(path: Path | None, source: Source, settings: SplitSettings, on_step: OnStep = ignore_steps) -> Split:
    """The split stored as JSON at `path`, or a new one, to be written there once all else has proved good.

    Raises:
        DataError: folders, classes or images that cannot be used, or data that changed since the split was stored.
    """
    found = _scan(source)
    if path is not None and path.is_file():
        return _reuse(path, source, settings, _fingerprint(source.root, found))
    return _make(source, found, settings, on_step)


def fingerprint_of(source: Source) -> str:
    """The fingerprint that a split of the images now in the data set's folder would have; errors as `find_split`."""
    return _fingerprint(source.root, _scan(source))


def _scan(source: Source) -> dict[str, ClassFolders]:
    """Part → its images, with paths relative to the data set's root."""
    config, root = source.config, source.root
    if not root.is_dir():
        raise DataError(
            f"no folder {root} for the data set {source.name}: give --data-path, or see `gfnet-dynn data list` for how "
            "to get it"
        )
    scans = {}
    for part, folder in config.part_folders.items():
        scan = scan_folders(root / folder)
        prefix = scan.root.relative_to(root).as_posix()
        names = ((path if prefix == "." else f"{prefix}/{path}", label) for path, label in scan.files)
        scans[part] = replace(scan, files=tuple(names))
    _require_same_classes(scans)
    require_classes(scans["train"], config.num_classes, source.name)
    _require_apart(scans)
    return scans


def _require_apart(parts: Mapping[str, ClassFolders]) -> None:
    """Refuse folders that share images, such as a val_folder that is the train_folder or lies in it."""
    owner: dict[str, str] = {}
    for part, scan in parts.items():
        for path, _ in scan.files:
            if path in owner:
                raise DataError(
                    f"{path} belongs to {owner[path]} and to {part}: give each part a folder of its own in the data "
                    "set's configuration"
                )
            owner[path] = part


def _require_same_classes(scans: Mapping[str, ClassFolders]) -> None:
    train = scans["train"]
    for scan in scans.values():
        for one, other in ((train, scan), (scan, train)):
            if missing := [name for name in other.classes if name not in one.classes]:
                raise DataError(f"{one.root} lacks classes that {other.root} has: {', '.join(missing[:6])}")


def _fingerprint(root: Path, found: Mapping[str, ClassFolders]) -> str:
    digest = hashlib.sha256()
    for part in sorted(found):
        for path, _ in found[part].files:
            digest.update(f"{path} {(root / path).stat().st_size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _reuse(path: Path, source: Source, settings: SplitSettings, fingerprint: str) -> Split:
    split = read_split(path)
    # The ratio decides nothing where val has a folder of its own.
    ratio = split.settings.split_ratio if source.config.use_random_split else settings.split_ratio
    then = replace(split.settings, on_bad_image=settings.on_bad_image, split_ratio=ratio)
    if split.data_set != source.name or then != settings:
        raise DataError(
            f"{path} is a split of {split.data_set} with {split.settings}, not the one asked for: move it away"
        )
    if split.fingerprint != fingerprint:
        raise DataError(
            f"the images of {source.name} changed since the split {path} was written: remove it to draw a new split "
            "(results before and after are then not comparable), or restore the images"
        )
    refuse_unreadable(split.skipped, settings.on_bad_image)
    return split


def read_split(path: Path) -> Split:
    """Read a stored split, or raise a DataError where it is missing or damaged."""

    def unusable(message: str) -> DataError:
        return DataError(f"{message}; remove it to draw a new split")

    split = structured_file(Split, path, unusable)
    if missing := {"train", "selection", "val"} - split.parts.keys():
        raise unusable(f"{path}: no part {', '.join(sorted(missing))}")
    lengths = {part: len(content) for part, content in split.fingerprints.items()}
    if lengths != {part: BYTES * len(files) for part, files in split.parts.items()}:
        raise unusable(f"{path}: it does not have one fingerprint for each image")
    return split


def _make(source: Source, found: Mapping[str, ClassFolders], settings: SplitSettings, on_step: OnStep) -> Split:
    classes, seed = found["train"].classes, settings.split_seed
    paths = {source.root / path: path for scan in found.values() for path, _ in scan.files}
    fingerprints, unreadable = fingerprint_files(list(paths), on_step, source.decode)
    skipped = {paths[file]: reason for file, reason in unreadable.items()}
    refuse_unreadable(skipped, settings.on_bad_image)
    usable: dict[str, list[tuple[str, int]]] = {
        part: [file for file in scan.files if file[0] not in skipped] for part, scan in found.items()
    }
    _require_images(usable, classes, source.config)
    if source.config.use_random_split:
        usable["train"], usable["val"] = stratified(usable["train"], classes, settings.split_ratio, seed)
    usable["train"], usable["selection"] = stratified(usable["train"], classes, 1 - settings.selection_share, seed)
    parts: dict[str, Files] = {
        part: tuple(usable[part]) for part in ("train", "selection", "val", "test") if part in usable
    }
    packed = {part: b"".join(fingerprints[source.root / path] for path, _ in files) for part, files in parts.items()}
    return Split(source.name, settings, _fingerprint(source.root, found), classes, parts, packed, skipped)


def _require_images(
    usable: Mapping[str, Sequence[tuple[str, int]]], classes: Sequence[str], config: DatasetConfig
) -> None:
    for part, files in usable.items():
        parts_to_fill = 1 if part != "train" else 3 if config.use_random_split else 2
        counts = Counter(label for _, label in files)
        for label, name in enumerate(classes):
            if counts[label] < parts_to_fill:
                raise DataError(
                    f"the class '{name}' has {counts[label]} usable images for {part} and needs at least "
                    f"{parts_to_fill}: add images, or remove the class everywhere"
                )


def refuse_unreadable(bad: Mapping[str, str], on_bad_image: str) -> None:
    """Raise a DataError that names some of the files that cannot be decoded, unless they are to be skipped."""
    if not bad or on_bad_image == "skip":
        return
    shown = "\n  ".join(list(bad.values())[:10])
    more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
    raise DataError(
        f"{len(bad)} of the images cannot be decoded:\n  {shown}{more}\nreplace them, or omit them with "
        "--on-bad-image skip"
    )
