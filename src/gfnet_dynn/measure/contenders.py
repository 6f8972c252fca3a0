"""What a device benchmark times against each other: networks that treat one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.manifest import Policy
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.runtime.prediction import make_prediction
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.runtime.staged import Images


class Contender(Protocol):
    """A network in one engine and precision.

    Attributes:
        name: for tables.
        engine: with its version.
        precision: `fp32` or `int8`.
        size_bytes: of its weights and graphs on disk; None where nothing is deployed.
        exit_names: of the G + 1 ways out.
        cost_shares: MACs of each way out over those of the full network, [G + 1].
        macs: of the full network.
    """

    name: str
    engine: str
    precision: str
    size_bytes: int | None
    exit_names: tuple[str, ...]
    cost_shares: tuple[float, ...]
    macs: int

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """A call that takes one image [1, S, S, 3] and leaves at one exit."""

    def decide(self, image: Images) -> int:
        """Take one image as far as it needs; the exit taken."""

    def read(self, file: Path) -> Images:
        """A file as the network takes it, [1, S, S, 3]."""

    def answer(self, file: Path) -> object:
        """From file to label."""

    def arrays(self, images: Images, labels: npt.NDArray[np.int64]) -> ExitArrays | None:
        """What every exit says of images; None where that is not asked of it."""


@dataclass
class BundleContender:
    """A bundle on one engine in one precision, by one of its policies."""

    classifier: Classifier
    bundle: Bundle
    policy: Policy
    name: str

    def __post_init__(self) -> None:
        net, manifest = self.classifier.net, self.bundle.manifest
        self.engine, self.precision = net.engine_name, net.precision
        self.size_bytes: int | None = sum(manifest.files[name].bytes for name in manifest.precisions[net.precision])
        self.exit_names = tuple(way_out.name for way_out in manifest.ways_out)
        self.cost_shares, self.macs = manifest.costs, manifest.ways_out[-1].macs

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """All stages up to one exit."""
        gates = len(self.exit_names) - 1
        thresholds = tuple(0.0 if index == exit_index else NEVER for index in range(gates))
        policy = Policy("forced", "gate", thresholds, "to time one exit")
        return lambda image: self.classifier.net.decide(image, policy)

    def decide(self, image: Images) -> int:
        """By the policy."""
        return int(self.classifier.net.decide(image, self.policy).exits[0])

    def read(self, file: Path) -> Images:
        """Decode and fit."""
        return self.classifier.read(file)[None]

    def answer(self, file: Path) -> object:
        """As `gfnet-dynn classify` does."""
        logits, exits = self.classifier.net.decide(self.read(file), self.policy)
        return make_prediction(self.classifier.manifest, logits[0], int(exits[0]), file)

    def arrays(self, images: Images, labels: npt.NDArray[np.int64]) -> ExitArrays | None:
        """One image after the other, as when it is timed; None of a network whose classifier has learned nothing."""
        if "untrained" in self.bundle.manifest.provenance:
            return None
        parts = [self.classifier.net.all_exits(images[row : row + 1]) for row in range(len(images))]
        logits, gates = (np.concatenate(each) for each in zip(*parts, strict=True))
        return ExitArrays(logits, self.policy.signals(ExitArrays(logits, gates, labels)), labels)


def labels_of(files: Sequence[Path], classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Class indices from the names of the folders that the files lie in; None unless every one is a class."""
    index = {name: position for position, name in enumerate(classes)}
    folders = [file.resolve().parent.name for file in files]
    if not all(folder in index for folder in folders):
        return None
    return np.array([index[folder] for folder in folders], dtype=np.int64)
