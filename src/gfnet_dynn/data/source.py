"""Where a data set lies and what it is. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import DataError
from gfnet_dynn.progress import OnProgress

SYNTHETIC = "SyntheticScenes"


@dataclass(frozen=True)
class Source:
    """Where a data set lies and what it is.

    Attributes:
        name: in its proper spelling.
        config: folders, classes, default input.
        root: its folder.
    """

    name: str
    config: DatasetConfig
    root: Path


def locate(name: str, path: Path | None, extra_config: Path | None, on_progress: OnProgress) -> Source:
    """Find a data set by name; the embedded one is generated where it is not there yet.

    Args:
        name: whatever its case.
        path: its folder, or None for the configuration's default.
        extra_config: TOML file with further data sets.
        on_progress: called while images are generated.

    Raises:
        DataError: unknown name, or no path given and none configured.
    """
    proper, config = find_dataset(name, extra_config)
    if path is None and config.default_data_path is None:
        raise DataError(f"the data set {proper} has no default path: give --data-path")
    root = path if path is not None else Path(config.default_data_path or ".")
    if proper == SYNTHETIC and path is None:
        write_synthetic(root, on_step=partial(on_progress, "Generating SyntheticScenes"))
    return Source(proper, config, root)
