"""A data set made ready for training or evaluation: configuration, split, and a loader for each part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gfnet_dynn.data.loading.augment import Normalise, TrainingTransform
from gfnet_dynn.data.loading.loaders import ImageLoader, Transform
from gfnet_dynn.data.request import Augmentation, SplitSettings
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.splits.split import DataRecord, Files, Split, find_split
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.system.storage import write_json


@dataclass(frozen=True)
class SceneData:
    """A data set with its split and its input."""

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
        """Some of the images, as uint8."""
        return self._loader(files, lambda images: images)

    def _loader(self, files: Files, transform: Transform) -> ImageLoader:
        return ImageLoader(self.source.root, files, self.input, transform, self.source.decode)

    def record(self) -> DataRecord:
        """What identifies data and split."""
        split = self.split
        counts = {part: len(files) for part, files in split.parts.items()}
        return DataRecord(self.source.name, split.fingerprint, split.settings, counts, len(split.skipped))


def prepare(
    source: Source, image: InputSpec, settings: SplitSettings, folder: Path | None, on_progress: OnProgress
) -> SceneData:
    """Split a data set, or read its split again from `folder`, where splits are stored; nothing is written.

    None draws the split anew. `on_progress` is called while the images of a new split are decoded. Errors as
    `find_split`.
    """
    checking = partial(on_progress, f"Checking the images of {source.name}")
    path = folder / _split_name(source, settings) if folder else None
    return SceneData(source, find_split(path, source, settings, checking), image)


def keep_split(data: SceneData, folder: Path) -> None:
    """Store the split in the folder where `prepare` looks for it, under a name with its settings."""
    write_json(folder / _split_name(data.source, data.split.settings), data.split)


def _split_name(source: Source, settings: SplitSettings) -> str:
    ratio = f"_ratio{settings.split_ratio}" if source.config.use_random_split else ""
    stretch = source.decode.stretch  # fingerprints differ
    stretched = f"_stretch{stretch[0]:g}-{stretch[1]:g}" if stretch else ""
    return f"{source.name}_seed{settings.split_seed}{ratio}_selection{settings.selection_share}{stretched}.json"
