"""List, download and check data sets. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset, known_names, known_sets
from gfnet_dynn.data.check import DataCheckResult, check_folder
from gfnet_dynn.data.request import DataCheckRequest, DataListRequest
from gfnet_dynn.data.source import find_in_folder
from gfnet_dynn.errors import DataError
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.reporting.table import Table, Tabular


@dataclass(frozen=True)
class DataListResult(Tabular):
    """The data sets known by name."""

    configs: dict[str, DatasetConfig]

    def tables(self) -> Sequence[Table]:
        """One row for each data set; `here` where its usual place exists."""
        headings = ("name", "classes", "px", "split", "images", "licence", "get it by", "here")
        return [Table("Data sets", headings, tuple(_row(name, config) for name, config in self.configs.items()))]


def _row(name: str, config: DatasetConfig) -> tuple[str, ...]:
    known = known_sets().get(name)
    split = "random" if config.use_random_split else "folders"
    published = (str(known.images), known.licence, known.way) if known else ("-", "-", "by hand")
    place = config.default_data_path
    here = place is not None and (Path(place) / config.train_folder).is_dir()
    return (name, str(config.num_classes), str(config.default_input_size), split, *published, "yes" if here else "no")


def list_datasets(request: DataListRequest) -> DataListResult:
    """The data sets known by name.

    Raises:
        DataError: a faulty file of further data sets.
    """
    extra = request.dataset_config
    return DataListResult({name: find_dataset(name, extra)[1] for name in known_names(extra)})


def check_dataset(request: DataCheckRequest, *, on_progress: OnProgress = ignore_progress) -> DataCheckResult:
    """Decode and compare every image of a data set.

    Raises:
        DataError: neither a known name nor a folder of class folders, or there are no images.
    """
    if Path(request.data).is_dir() and request.data_path is None:
        source = find_in_folder(Path(request.data))
        return check_folder(source.name, source.config, source.root, on_progress, request.decode)
    name, config = find_dataset(request.data, request.dataset_config)
    root = request.data_path or (Path(config.default_data_path) if config.default_data_path else None)
    if root is None:
        raise DataError(f"{name} has no usual place: give its folder with --data-path")
    return check_folder(name, config, root, on_progress, request.decode)
