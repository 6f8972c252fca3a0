"""A data set made ready: its split, and batches of images, decoded ahead of need, augmented and normalised."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gfnet_dynn.data.request import Augmentation, SplitSettings
from gfnet_dynn.data.rows import ALL_ROWS, Rows, augment_rows, rows_of
from gfnet_dynn.data.source import Source
from gfnet_dynn.data.split import UNLABELLED, DataRecord, Files, Split, find_split, fingerprint_of
from gfnet_dynn.errors import DataError, MissingExtraError
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.progress import OnProgress
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.system.storage import write_json

_CROP_AREA = (0.6, 1.0)  # share of the image's area; scenes are labelled as a whole, so smaller crops lose the subject
_CROP_RATIO = (0.85, 1.18)  # overhead images have no preferred axis: nearly square


class Normalise(nn.Module):
    """uint8 [B, 3, S, S] → float32, each channel less its mean and divided by its standard deviation."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.mean, self.std = spec.mean, spec.std

    def forward(self, images: Tensor) -> Tensor:
        """See the class; the device stays."""
        return self.normalise(images.float() / 255)

    def normalise(self, images: Tensor) -> Tensor:
        """Float images on the scale 0 to 1 → normalised."""
        mean, std = (images.new_tensor(each).view(1, 3, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std


class TrainingTransform(Normalise):
    """Augments and normalises. Random draws come from torch's global generator, which the caller seeds.

    They are made for a whole batch, so that an image looks the same, however many processes share it.
    """

    def __init__(self, spec: InputSpec, augmentation: Augmentation) -> None:
        super().__init__(spec)
        self.augmentation = augmentation
        self.steps = nn.ModuleList(_kornia_steps(spec.size, augmentation))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] → float32 [B, 3, S, S]."""
        return self.of_rows(images, Rows(0, len(images), len(images)))

    def of_rows(self, images: Tensor, rows: Rows) -> Tensor:
        """The same for some rows of a batch, as they would be among the others."""
        scaled = images.float() / 255
        if self.augmentation != "none":
            scaled = random_symmetry(scaled, rows)
        for step in self.steps:
            scaled = augment_rows(step, scaled, rows)
        return self.normalise(scaled.clamp(0, 1))


def random_symmetry(images: Tensor, rows: Rows | None = None) -> Tensor:
    """Apply to each image one of the eight symmetries of the square, drawn uniformly.

    From above there is no up, so all eight are as likely as the image itself. Pixels move without interpolation.
    """
    rows = rows or Rows(0, len(images), len(images))
    choice = torch.randint(8, (rows.total,), device=images.device)[rows.span].view(-1, 1, 1, 1)
    images = torch.where(choice & 1 > 0, images.flip(2), images)
    images = torch.where(choice & 2 > 0, images.flip(3), images)
    return torch.where(choice & 4 > 0, images.transpose(2, 3), images)


def _kornia_steps(size: int, augmentation: Augmentation) -> list[nn.Module]:
    if augmentation == "none":
        return []
    try:
        from kornia import augmentation as kornia_augmentation  # noqa: PLC0415 # slow to import; training only
        from kornia.augmentation.auto import RandAugment  # noqa: PLC0415 # likewise
    except ImportError as error:
        raise MissingExtraError("augmentation", "train") from error
    steps = [
        kornia_augmentation.RandomResizedCrop((size, size), scale=_CROP_AREA, ratio=_CROP_RATIO),
        kornia_augmentation.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, p=0.8),
    ]
    return [*steps, RandAugment(n=2, m=9)] if augmentation == "randaugment" else steps


MEMORY_LIMIT_BYTES = 2 * 1024**3
"""Decoded images of one part are kept up to this size; beyond it they are decoded anew each epoch."""

Transform = Callable[[Tensor], Tensor]
"""uint8 [B, 3, S, S] → normalised float32 [B, 3, S, S], on the same device. Each part of a split owns one."""

_BATCHES_AHEAD = 3


class Batch(NamedTuple):
    """Images ready for the network, float32 [B, 3, S, S], and labels, int64 [B]; `UNLABELLED` where there is none.

    `rows`: which ones of the batch that several processes share.
    """

    images: Tensor
    labels: Tensor
    rows: Rows = ALL_ROWS


def cut_into_batches(order: Sequence[int], size: int) -> list[Sequence[int]]:
    """An order in pieces of `size`; what would be a last batch of one image goes into the batch before.

    A batch norm learns nothing from one image, and of one position in each channel it even refuses to.
    """
    ends = [*range(size, len(order), size), len(order)] if len(order) else []
    if len(ends) > 1 and size > 1 and ends[-1] - ends[-2] == 1:
        del ends[-2]
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class ImageLoader:
    """The images of one part of a split, perhaps followed by some without labels.

    Decoding and resizing run in threads (the decoders release the interpreter), so no worker process can be orphaned,
    and the order of the batches never depends on timing.
    """

    def __init__(
        self, root: Path, files: Files, spec: InputSpec, transform: Transform, decode: DecodeOptions = DEFAULT
    ) -> None:
        self.num_unlabelled = sum(label == UNLABELLED for _, label in files)
        self.labels = np.array([label for _, label in files], dtype=np.int64)
        self._paths = [root / path for path, _ in files]
        self._spec, self._decode = spec, decode
        self._transform = transform
        fits = len(files) * spec.size * spec.size * 3 <= MEMORY_LIMIT_BYTES
        self._kept: list[Tensor | None] | None = [None] * len(files) if fits else None

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    @property
    def num_labelled(self) -> int:
        """Number of images that have a label; they come first."""
        return len(self) - self.num_unlabelled

    @property
    def epoch_images(self) -> int:
        """Images in an epoch of training: all that have a label, and at most as many that don't."""
        return self.num_labelled + min(self.num_labelled, self.num_unlabelled)

    def batches(
        self, order: Sequence[int], size: int, device: torch.device, first: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The images of the indices `order`, a batch at a time; transformed on the device.

        The last batch may hold fewer than `size`, or one more. `first`: the batch to begin with, to resume in the
        middle of an epoch. `part`: this process's number of how many that share each batch.

        Raises:
            ImageError: a file that cannot be decoded (it could when the split was made).
        """
        wholes = cut_into_batches(order, size)[first:]
        places = [rows_of(*part, len(whole)) for whole in wholes]
        chunks = [whole[rows.span] for whole, rows in zip(wholes, places, strict=True)]
        waiting: deque[list[Future[Tensor]]] = deque()
        pool = ThreadPoolExecutor()
        try:
            for index, chunk in enumerate(chunks):
                while len(waiting) < min(_BATCHES_AHEAD, len(chunks) - index):
                    waiting.append([pool.submit(self._image, i) for i in chunks[index + len(waiting)]])
                images = torch.stack([future.result() for future in waiting.popleft()])
                labels = torch.from_numpy(self.labels[np.asarray(chunk)])
                rows = places[index]
                yield Batch(self._transformed(images.to(device), rows), labels.to(device), rows)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _transformed(self, images: Tensor, rows: Rows) -> Tensor:
        if isinstance(self._transform, TrainingTransform):  # whose draws are those of the whole batch
            return self._transform.of_rows(images, rows)
        return self._transform(images)

    def shown_by(self, transform: Transform) -> ImageLoader:
        """The same images under another transform; decoded ones are kept once for both."""
        other = copy(self)
        other._transform = transform
        return other

    def in_order(self, size: int, device: torch.device) -> Iterator[Batch]:
        """All images once, in the order of the split."""
        return self.batches(range(len(self)), size, device)

    def _image(self, index: int) -> Tensor:
        if self._kept is not None and (kept := self._kept[index]) is not None:
            return kept
        pixels = torch.from_numpy(load_input(self._paths[index], self._spec, self._decode)).permute(2, 0, 1)
        if self._kept is not None:
            self._kept[index] = pixels
        return pixels


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


def require_same_images(data: SceneData) -> None:
    """Check that the images here are those that another process has split; a DataError where they are not."""
    if fingerprint_of(data.source) != data.split.fingerprint:
        raise DataError(
            f"the images in {data.source.root} on {platform.node()} are not those that the first process has split: "
            "give all processes the same images at the same place"
        )


def keep_split(data: SceneData, folder: Path) -> None:
    """Store the split in the folder where `prepare` looks for it, under a name with its settings."""
    write_json(folder / _split_name(data.source, data.split.settings), data.split)


def _split_name(source: Source, settings: SplitSettings) -> str:
    ratio = f"_ratio{settings.split_ratio}" if source.config.use_random_split else ""
    stretch = source.decode.stretch  # fingerprints differ
    stretched = f"_stretch{stretch[0]:g}-{stretch[1]:g}" if stretch else ""
    return f"{source.name}_seed{settings.split_seed}{ratio}_selection{settings.selection_share}{stretched}.json"
