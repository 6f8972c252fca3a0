"""A data set on disk by its name: fetched or drawn, verified, and laid out as its configuration wants it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.data.catalogue.archive import list_images, open_archive, unpack
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG, DatasetConfig
from gfnet_dynn.data.catalogue.fetch import Progress, fetch_archive, no_progress
from gfnet_dynn.data.catalogue.registry import KNOWN_SETS, Archive, KnownSet
from gfnet_dynn.data.splits.folders import scan_folders
from gfnet_dynn.data.splits.stratify import stratified
from gfnet_dynn.errors import DataError, DownloadError, StorageError
from gfnet_dynn.system.storage import require_writable, write_json
from gfnet_dynn.wording import counted

DEFAULT_SPLIT_RATIO = 0.8
"""Share of every class that goes into the train folder."""

ARCHIVES_FOLDER = ".downloads"
"""Where archives are kept, below the folder of the data sets."""


@dataclass(frozen=True, slots=True)
class Download:
    """A data set that is there.

    Attributes:
        path: its folder.
        images: number in each part; one part ``all`` where the set is split at random later.
        fetched: False if it was there before.
    """

    path: Path
    images: dict[str, int]
    fetched: bool


def download_dataset(
    name: str,
    config: DatasetConfig,
    folder: Path,
    *,
    split_ratio: float | None = None,
    seed: int = 0,
    endpoint: str | None = None,
    progress: Progress = no_progress,
) -> Download:
    """Put the data set `name` into ``folder/name``, complete or not at all.

    It is built in a temporary folder beside its place and renamed at the end. A set that is there already, with all
    its images, is left as it is whatever its split.

    Args:
        name: proper spelling, as `find_dataset` gives it.
        config: number of classes and names of the folders.
        folder: folder of the data sets; archives are kept in its ``.downloads``.
        split_ratio: share of each class for the train folder (0.8 if None); the rest goes into the val folder.
        seed: of the split, or of the drawing.
        endpoint: address of the hub; None takes the client's own setting.
        progress: told of bytes and images.

    Raises:
        DownloadError: the set has to be had by hand, cannot be fetched, is damaged, or its place is taken.
        DataError: a split ratio that cannot be used.
        StorageError: `folder` cannot be written to.
    """
    target = folder / name
    known = KNOWN_SETS.get(name)
    if known is None or not (known.archive or known.generated):
        raise DownloadError(_by_hand(name, config, target, known))
    if split_ratio is not None and (known.generated or config.use_random_split):
        raise DataError(f"{name} is not split on download: leave --split-ratio out")
    if known.archive is None:
        return _draw(target, config, seed, progress)
    if (images := _images_there(target, config, known)) is not None:
        return Download(target, images, fetched=False)
    split = (DEFAULT_SPLIT_RATIO if split_ratio is None else split_ratio, seed)
    stratified([], (), *split)  # refuses a bad ratio or seed before gigabytes are fetched
    require_writable(folder)
    path = fetch_archive(known.archive, folder / ARCHIVES_FOLDER, endpoint=endpoint, progress=progress)
    with _whole_or_nothing(target) as unfinished:
        _lay_out(path, known.archive, config, unfinished, split, progress)
        images = _require_all(unfinished, name, config, known)
        _write_origin(unfinished, name, known.archive, config, split)
    return Download(target, images, fetched=True)


def _by_hand(name: str, config: DatasetConfig, target: Path, known: KnownSet | None) -> str:
    own = "" if name in DATASET_CONFIG else " --dataset-config FILE.toml"
    parts = [""] if config.use_random_split else [f"{config.train_folder}/", f"{config.val_folder}/"]
    places = " and ".join(f"{target.as_posix()}/{part}CLASS/*" for part in parts)
    origin = f"get it from its authors ({known.source})" if known else "get it from its source"
    return (
        f"{name} cannot be fetched automatically: {origin}, put its images at {places}, "
        f"then go on with: gfnet-dynn data check {name} --data-path {target.as_posix()}{own}"
    )


def part_folders(config: DatasetConfig) -> dict[str, str]:
    """The parts of a data set → their folders: train, val and test, or `all` for one that is split at random later."""
    if config.use_random_split:
        return {"all": config.train_folder}
    folders = {"train": config.train_folder, "val": config.val_folder}
    return folders | ({"test": config.test_folder} if config.test_folder else {})


def _images_there(target: Path, config: DatasetConfig, known: KnownSet) -> dict[str, int] | None:
    """Images in each part if the set is there and whole, None if its place is free.

    Raises:
        DownloadError: something else is there.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    images = _count(target, config)
    if sum(images.values()) != known.images:
        raise DownloadError(
            f"{target} is taken by something that is not the whole set ({sum(images.values())} of {known.images} "
            "images); nothing was changed: move it away, or choose another folder with --to"
        )
    return images


def _count(target: Path, config: DatasetConfig) -> dict[str, int]:
    images = {}
    for part, folder in part_folders(config).items():
        try:
            found = scan_folders(target / folder)
        except DataError:
            continue
        images[part] = len(found.files) if len(found.classes) == config.num_classes else 0
    return images


def _require_all(folder: Path, name: str, config: DatasetConfig, known: KnownSet) -> dict[str, int]:
    images = _count(folder, config)
    if sum(images.values()) != known.images:
        unpacked = counted(sum(images.values()), "image")
        raise DownloadError(
            f"{name} unpacked to {unpacked} in classes as expected instead of {known.images} in "
            f"{config.num_classes}; only its archive was kept"
        )
    return images


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        # One level down: the temporary folder itself is closed to other users, the data set should not be.
        unfinished = Path(beside) / target.name
        unfinished.mkdir()
        yield unfinished
        try:
            if target.is_dir():
                target.rmdir()  # empty, as found before; fails if something has come into it since
            unfinished.rename(target)
        except OSError as error:
            raise StorageError(
                f"cannot put the data set at {target}: {error.strerror}; run the command again"
            ) from error


def _lay_out(
    path: Path, source: Archive, config: DatasetConfig, folder: Path, split: tuple[float, int], progress: Progress
) -> None:
    with open_archive(path) as archive:
        images = list_images(archive, source.images_folder)
        places = {folder / place: images[image] for image, place in _places(list(images), config, split).items()}
        unpack(archive, places, source.unpacked_limit_gb, progress)


def _places(images: list[str], config: DatasetConfig, split: tuple[float, int]) -> dict[str, str]:
    """``CLASS/file`` → where it goes below the data set's folder."""
    if config.use_random_split:
        return {image: f"{config.train_folder}/{image}" for image in sorted(images)}
    classes = sorted({image.split("/")[0] for image in images})
    labelled = [(image, classes.index(image.split("/")[0])) for image in images]
    train, val = stratified(labelled, classes, *split)
    folders = ((config.train_folder, train), (config.val_folder, val))
    return {image: f"{folder}/{image}" for folder, part in folders for image, _ in part}


def _write_origin(folder: Path, name: str, source: Archive, config: DatasetConfig, split: tuple[float, int]) -> None:
    origin = {
        "name": name,
        "repository": source.repository,
        "revision": source.revision,
        "file": source.file,
        "sha256": source.sha256,
        "licence": KNOWN_SETS[name].licence,
    }
    made_here = {} if config.use_random_split else {"split_ratio": split[0], "seed": split[1]}
    write_json(folder / "origin.json", origin | made_here)


def _draw(target: Path, config: DatasetConfig, seed: int, progress: Progress) -> Download:
    from gfnet_dynn.data.synthetic.generate import write_synthetic  # noqa: PLC0415

    drawn = False

    def report(done: int, total: int) -> None:
        nonlocal drawn
        drawn = True
        progress("drawing", done, total)

    write_synthetic(target, seed=seed, progress=report)
    return Download(target, _count(target, config), fetched=drawn)
