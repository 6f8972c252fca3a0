"""Fetches or draws a data set by its name, and puts its images into the folders of its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gfnet_dynn.data.catalogue.archive import fetch_archive, list_images, open_archive, unpack
from gfnet_dynn.data.catalogue.configs import DATASET_CONFIG, Archive, DatasetConfig, KnownSet, find_dataset, known_sets
from gfnet_dynn.data.folders import scan_folders, stratified
from gfnet_dynn.data.request import DataDownloadRequest
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import DataError, DownloadError
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.system.storage import build_folder, require_writable, write_json

ARCHIVES_FOLDER = ".downloads"
"""Where archives are kept, below the folder of the data sets."""


@dataclass(frozen=True)
class DataDownloadResult(Tabular):
    """A data set on disk, with the number of images in each part.

    One part ``all`` where the set is split at random later; `fetched` is False where it was there before.
    """

    name: str
    path: Path
    images: dict[str, int]
    fetched: bool
    licence: str

    def tables(self) -> Sequence[Table]:
        """One row for each part."""
        rows = tuple((part, str(count)) for part, count in self.images.items())
        return [Table(f"{self.name} in {self.path}", ("part", "images"), rows)]

    def notes(self) -> Sequence[str]:
        """The licence, and whether anything was fetched."""
        kept = [] if self.fetched else ["the data set was there before; nothing was changed"]
        return [f"licence: {self.licence}", *kept]


def download_dataset(
    request: DataDownloadRequest, *, endpoint: str | None = None, on_progress: OnProgress = ignore_progress
) -> DataDownloadResult:
    """Put a data set into its folder, complete or not at all.

    A complete set in that place is kept, whatever its split. Archives are kept in ``.downloads`` beside it. `endpoint`
    is the address of the hub; None: the client's own setting. `on_progress` is called with bytes and images.

    Raises:
        DownloadError: the set cannot be fetched automatically, is damaged, or its place is taken.
        DataError: unknown name, or a split ratio that cannot be used.
        StorageError: the place cannot be written.
    """
    name, config = find_dataset(request.name, request.dataset_config)
    folder = request.to if request.to is not None else Path(config.default_data_path or f"data/{name}").parent
    target, known = folder / name, known_sets().get(name)
    if known is None or not (known.archive or known.generated):
        raise DownloadError(_by_hand(name, config, target, known))
    if request.split_ratio is not None and (known.generated or config.use_random_split):
        raise DataError(f"{name} is not split on download: omit --split-ratio")
    if known.archive is None:
        fetched = not target.exists()
        write_synthetic(target, seed=request.seed, on_step=partial(on_progress, "Drawing"))
        return DataDownloadResult(name, target, _count(target, config), fetched, known.licence)
    if (images := _images_there(target, config, known)) is not None:
        return DataDownloadResult(name, target, images, False, known.licence)
    split = (0.8 if request.split_ratio is None else request.split_ratio, request.seed)
    stratified([], (), *split)  # refuses a bad ratio or seed before gigabytes are fetched
    require_writable(folder)
    path = fetch_archive(known.archive, folder / ARCHIVES_FOLDER, endpoint=endpoint, on_progress=on_progress)
    with build_folder(target) as unfinished:
        _lay_out(path, known.archive, config, unfinished, split, on_progress)
        images = _count(unfinished, config)
        if sum(images.values()) != known.images:
            raise DownloadError(f"{path} has {sum(images.values())} images of {name} instead of {known.images}")
        origin = {key: getattr(known.archive, key) for key in ("repository", "revision", "file", "sha256")}
        made_here = {} if config.use_random_split else {"split_ratio": split[0], "seed": split[1]}
        write_json(unfinished / "origin.json", {"name": name, **origin, "licence": known.licence, **made_here})
    return DataDownloadResult(name, target, images, True, known.licence)


def _by_hand(name: str, config: DatasetConfig, target: Path, known: KnownSet | None) -> str:
    own = "" if name in DATASET_CONFIG else " --dataset-config FILE.toml"
    parts = [""] if config.use_random_split else [f"{config.train_folder}/", f"{config.val_folder}/"]
    places = " and ".join(f"{target.as_posix()}/{part}CLASS/*" for part in parts)
    origin = f"get it from its authors ({known.source})" if known else "get it from its source"
    return (
        f"{name} cannot be fetched automatically: {origin}, put its images at {places}, "
        f"then continue with: gfnet-dynn data check {name} --data-path {target.as_posix()}{own}"
    )


def part_folders(config: DatasetConfig) -> dict[str, str]:
    """The parts of a data set → their folders: train, val and test, or `all` for one that is split at random later."""
    return {"all": config.train_folder} if config.use_random_split else config.part_folders


def _images_there(target: Path, config: DatasetConfig, known: KnownSet) -> dict[str, int] | None:
    """Images in each part if the set is there and whole, None if its place is free."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    images = _count(target, config)
    if sum(images.values()) != known.images:
        raise DownloadError(
            f"{target} has {sum(images.values())} of {known.images} images, so it is not the whole set; nothing was "
            "changed: move it away, or choose another folder with --to"
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


def _lay_out(
    path: Path, source: Archive, config: DatasetConfig, folder: Path, split: tuple[float, int], on_progress: OnProgress
) -> None:
    with open_archive(path) as archive:
        entries = list_images(archive, source.images_folder)
        places = {folder / place: entries[image] for image, place in _places(list(entries), config, split).items()}
        unpack(archive, places, source.unpacked_limit_gb, on_progress)


def _places(images: list[str], config: DatasetConfig, split: tuple[float, int]) -> dict[str, str]:
    """``CLASS/file`` → its path below the data set's folder."""
    if config.use_random_split:
        return {image: f"{config.train_folder}/{image}" for image in sorted(images)}
    classes = sorted({image.split("/")[0] for image in images})
    labelled = [(image, classes.index(image.split("/")[0])) for image in images]
    train, val = stratified(labelled, classes, *split)
    folders = ((config.train_folder, train), (config.val_folder, val))
    return {image: f"{folder}/{image}" for folder, part in folders for image, _ in part}
