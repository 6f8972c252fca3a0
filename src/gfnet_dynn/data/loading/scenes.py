"""A data set made ready for training or evaluation: configuration, split, and a loader for each part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gfnet_dynn.data.catalogue.configs import DatasetConfig, find_dataset
from gfnet_dynn.data.loading.augment import Normalise, TrainingTransform
from gfnet_dynn.data.loading.augmentation_policy import Augmentation
from gfnet_dynn.data.loading.loaders import ImageLoader, Transform
from gfnet_dynn.data.splits.split import Files, Progress, Split, SplitSettings, find_split, store_split
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.errors import DataError
from gfnet_dynn.spec.network import InputSpec

SYNTHETIC = "SyntheticScenes"

ProgressFor = Callable[[str], Progress]
"""A title → a function that is told (files done, files in all)."""


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


def locate(name: str, path: Path | None, extra_config: Path | None, progress: ProgressFor) -> Source:
    """Find a data set by name; the embedded one is generated where it is not there yet.

    Args:
        name: whatever its case.
        path: its folder, or None for the configuration's default.
        extra_config: TOML file with further data sets.
        progress: told while images are generated.

    Raises:
        DataError: unknown name, or no path given and none configured.
    """
    proper, config = find_dataset(name, extra_config)
    if path is None and config.default_data_path is None:
        raise DataError(f"the data set {proper} has no default path: give --data-path")
    root = path if path is not None else Path(config.default_data_path or ".")
    if proper == SYNTHETIC and path is None:
        write_synthetic(root, progress=progress("Generating SyntheticScenes"))
    return Source(proper, config, root)


@dataclass(frozen=True)
class SceneData:
    """A data set with its split and its input.

    Attributes:
        source: where it lies.
        split: which image serves for what.
        input: what the network takes.
    """

    source: Source
    split: Split
    input: InputSpec

    def evaluation_loader(self, part: str) -> ImageLoader:
        """The images of a part as they are."""
        return self._loader(self.split.parts[part], Normalise(self.input))

    def training_loader(self, augmentation: Augmentation, unlabelled: Files = ()) -> ImageLoader:
        """The training images, augmented, and behind them others without labels; the transform is this loader's own."""
        transform = TrainingTransform(self.input, augmentation)
        return self._loader((*self.split.parts["train"], *unlabelled), transform)

    def raw_loader(self, files: Files) -> ImageLoader:
        """Some of the images as uint8."""
        return self._loader(files, lambda images: images)

    def _loader(self, files: Files, transform: Transform) -> ImageLoader:
        return ImageLoader(self.source.root, files, self.input, transform, self.split.settings.decode)

    def describe(self) -> Mapping[str, Any]:
        """What identifies data and split, as JSON values."""
        return {
            "data_set": self.source.name,
            "fingerprint": self.split.fingerprint,
            "split": asdict(self.split.settings),
            "images": {part: len(files) for part, files in self.split.parts.items()},
            "skipped": len(self.split.skipped),
        }


def prepare(
    source: Source, image: InputSpec, settings: SplitSettings, folder: Path | None, progress: ProgressFor
) -> SceneData:
    """Split a data set, or read its split again.

    Args:
        source: the data set.
        image: what the network takes.
        settings: what decides the split.
        folder: where splits are stored, or None to draw this one anew; nothing is written.
        progress: told while the images of a new split are tried.

    Raises:
        DataError: as `find_split`.
    """
    checking = progress(f"Checking the images of {source.name}")
    path = folder / _split_name(source, settings) if folder else None
    return SceneData(source, find_split(path, source.name, source.config, source.root, settings, checking), image)


def keep_split(data: SceneData, folder: Path) -> None:
    """Store the split in the folder where `prepare` looks for it, under a name that says how it was drawn.

    Raises:
        StorageError: it cannot be written.
    """
    store_split(folder / _split_name(data.source, data.split.settings), data.split)


def _split_name(source: Source, settings: SplitSettings) -> str:
    ratio = f"_ratio{settings.split_ratio}" if source.config.use_random_split else ""
    return f"{source.name}_seed{settings.seed}{ratio}_selection{settings.selection_share}.json"
