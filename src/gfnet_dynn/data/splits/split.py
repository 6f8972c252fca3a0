"""Which image serves for what: train, selection, val and test, written to a file and read again by every later run.

train: gradients. selection: epochs, freezing, thresholds; held out of train. val or test: reported, never looked at to
choose anything.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.splits.folders import ClassFolders, require_classes, scan_folders
from gfnet_dynn.data.splits.stratify import stratified
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.system.storage import write_json

Files = tuple[tuple[str, int], ...]
"""Paths relative to the data set's root (POSIX), each with its class index."""

UNLABELLED = -1
"""In place of a class index."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """What decides a split.

    Attributes:
        seed: of the random draws.
        split_ratio: share of a random-split data set that is used for training, selection included.
        selection_share: share of the training images of each class that is held out for selection.
        on_bad_image: whether a file that cannot be decoded stops the run or is left out.
    """

    seed: int = 0
    split_ratio: float = 0.8
    selection_share: float = 0.1
    on_bad_image: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        for name, share in (("--split-ratio", self.split_ratio), ("--selection-share", self.selection_share)):
            if not 0 < share < 1:
                raise DataError(f"{name} must lie between 0 and 1, not {share}")
        if self.on_bad_image not in ("refuse", "skip"):
            raise DataError(f"--on-bad-image must be refuse or skip, not {self.on_bad_image!r}")


@dataclass(frozen=True)
class Split:
    """The images of one data set, each in one part.

    Attributes:
        data_set: name in its proper spelling.
        settings: what decided the draw.
        fingerprint: SHA-256 over the paths and sizes of all images found, to notice that the data changed.
        classes: names; a label is a position here.
        parts: `train`, `selection`, `val` and, where the data set has one, `test`.
        skipped: files left out, each with the reason.
    """

    data_set: str
    settings: SplitSettings
    fingerprint: str
    classes: tuple[str, ...]
    parts: Mapping[str, Files]
    skipped: Mapping[str, str]

    @property
    def held_out(self) -> list[str]:
        """Paths of all images that no gradient may come from."""
        return [path for part, files in self.parts.items() if part != "train" for path, _ in files]

    @property
    def report_part(self) -> str:
        """The part that results are reported on: `test` where there is one, else `val`."""
        return "test" if "test" in self.parts else "val"


def find_split(
    path: Path | None,
    data_set: str,
    config: DatasetConfig,
    root: Path,
    settings: SplitSettings,
    progress: Progress | None = None,
) -> Split:
    """The split stored at `path`, or a new one; `store_split` keeps that, once all else has proved good.

    Args:
        path: JSON file, or None to draw anew in any case.
        data_set: name in its proper spelling.
        config: folders and number of classes.
        root: folder of the data set.
        settings: what decides the draw.
        progress: called with (files decoded, files in all) while a new split's images are tried.

    Raises:
        DataError: folders, classes or images that cannot be used, or data that changed since the split was stored.
    """
    found = _scan(data_set, config, root)
    fingerprint = _fingerprint(root, found)
    if path is not None and path.is_file():
        return _reuse(path, data_set, config, settings, fingerprint)
    return _make(data_set, config, root, found, fingerprint, settings, progress)


def store_split(path: Path, split: Split) -> None:
    """Write a split for `find_split` and `read_split` to find.

    Raises:
        StorageError: it cannot be written.
    """
    write_json(path, asdict(split))


def fingerprint_of(data_set: str, config: DatasetConfig, root: Path) -> str:
    """The fingerprint that a split of the images now in `root` would have.

    Raises:
        DataError: folders or classes that cannot be used.
    """
    return _fingerprint(root, _scan(data_set, config, root))


def _scan(data_set: str, config: DatasetConfig, root: Path) -> dict[str, tuple[ClassFolders, Files]]:
    folders = {"train": config.train_folder}
    if not config.use_random_split:
        folders["val"] = config.val_folder
    if config.test_folder:
        folders["test"] = config.test_folder
    if not root.is_dir():
        raise DataError(
            f"no folder {root} for the data set {data_set}: give --data-path, or see `gfnet-dynn data list` for how to "
            "get it"
        )
    scans = {}
    for part, folder in folders.items():
        scan = scan_folders(root / folder)
        require_classes(scan, config.num_classes, data_set)
        prefix = scan.root.relative_to(root).as_posix()
        names = ((path if prefix == "." else f"{prefix}/{path}", label) for path, label in scan.files)
        scans[part] = (scan, tuple(names))
    _require_same_classes({part: scan for part, (scan, _) in scans.items()})
    _require_apart({part: files for part, (_, files) in scans.items()})
    return scans


def _require_apart(parts: Mapping[str, Files]) -> None:
    """Refuse folders that share images, such as a val_folder that is the train_folder or lies in it."""
    owner: dict[str, str] = {}
    for part, files in parts.items():
        for path, _ in files:
            if path in owner:
                raise DataError(
                    f"{path} belongs to {owner[path]} and to {part}: give each part a folder of its own in the data "
                    "set's configuration"
                )
            owner[path] = part


def _require_same_classes(scans: Mapping[str, ClassFolders]) -> None:
    train = scans["train"]
    for scan in scans.values():
        differing = sorted(set(train.classes) ^ set(scan.classes))
        if differing:
            raise DataError(f"{train.root} and {scan.root} have different classes: {', '.join(differing[:6])}")


def _fingerprint(root: Path, found: Mapping[str, tuple[ClassFolders, Files]]) -> str:
    digest = hashlib.sha256()
    for part in sorted(found):
        for path, _ in found[part][1]:
            digest.update(f"{path} {(root / path).stat().st_size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _reuse(path: Path, data_set: str, config: DatasetConfig, settings: SplitSettings, fingerprint: str) -> Split:
    split = read_split(path)
    if split.data_set != data_set or not same_draw(split.settings, settings, config):
        raise DataError(
            f"{path} is a split of {split.data_set} with {split.settings}, not the one asked for: move it away"
        )
    if split.fingerprint != fingerprint:
        raise DataError(
            f"the images of {data_set} changed since the split {path} was written: remove it to draw a new split "
            "(results before and after are then not comparable), or restore the images"
        )
    if split.skipped and settings.on_bad_image == "refuse":
        refuse_unreadable(split.skipped)
    return split


def same_draw(one: SplitSettings, other: SplitSettings, config: DatasetConfig) -> bool:
    """Whether two settings split the same images alike: a ratio decides nothing where val has a folder of its own."""
    ratios = (one.split_ratio, other.split_ratio) if config.use_random_split else (None, None)
    return (one.seed, one.selection_share, ratios[0]) == (other.seed, other.selection_share, ratios[1])


def read_split(path: Path) -> Split:
    """Read a stored split.

    Raises:
        DataError: missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: tuple((file, label) for file, label in files) for name, files in value["parts"].items()}
        if missing := {"train", "selection", "val"} - parts.keys():
            raise ValueError(f"no part {', '.join(sorted(missing))}")
        settings = SplitSettings(**value["settings"])
        return Split(
            value["data_set"], settings, value["fingerprint"], tuple(value["classes"]), parts, value["skipped"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise DataError(f"cannot read the split {path}: {error}; remove it to draw a new one") from error


def _make(
    data_set: str,
    config: DatasetConfig,
    root: Path,
    found: Mapping[str, tuple[ClassFolders, Files]],
    fingerprint: str,
    settings: SplitSettings,
    progress: Progress | None,
) -> Split:
    everything = [path for _, files in found.values() for path, _ in files]
    skipped = find_unreadable(root, everything, progress)
    if skipped and settings.on_bad_image == "refuse":
        refuse_unreadable(skipped)
    usable = {part: [file for file in files if file[0] not in skipped] for part, (_, files) in found.items()}
    _require_images(usable, found["train"][0].classes, config)
    classes = found["train"][0].classes
    if config.use_random_split:
        usable["train"], usable["val"] = stratified(usable["train"], classes, settings.split_ratio, settings.seed)
    share = 1 - settings.selection_share
    usable["train"], usable["selection"] = stratified(usable["train"], classes, share, settings.seed)
    parts: dict[str, Files] = {
        part: tuple(usable[part]) for part in ("train", "selection", "val", "test") if part in usable
    }
    return Split(data_set, settings, fingerprint, found["train"][0].classes, parts, skipped)


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


def find_unreadable(root: Path, paths: Sequence[str], progress: Progress | None = None) -> dict[str, str]:
    """Decode every image once and name those that fail.

    Args:
        root: folder that the paths are relative to.
        paths: image files.
        progress: called with (files done, files in all).

    Returns:
        Path → reason, for the files that cannot be decoded.
    """

    def reason(path: str) -> str | None:
        try:
            read_image(root / path)
        except ImageError as error:
            return str(error)
        return None

    bad: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for done, (path, why) in enumerate(zip(paths, pool.map(reason, paths), strict=True), start=1):
            if why:
                bad[path] = why
            if progress:
                progress(done, len(paths))
    return bad


def refuse_unreadable(bad: Mapping[str, str]) -> None:
    """Raise a DataError that names some of the files that `find_unreadable` found."""
    shown = "\n  ".join(list(bad.values())[:10])
    more = f"\n  and {len(bad) - 10} more" if len(bad) > 10 else ""
    raise DataError(
        f"{len(bad)} of the images cannot be decoded:\n  {shown}{more}\nreplace them, or leave them out with "
        "--on-bad-image skip"
    )
