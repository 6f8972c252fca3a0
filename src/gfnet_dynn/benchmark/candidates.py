"""What a device benchmark times against each other: networks that treat one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.runtime.segments import Images


@dataclass(frozen=True)
class Identity:
    """Which network, and how it is run.

    Attributes:
        name: for tables.
        engine: with its version.
        precision: `fp32` or `int8`.
        policy: name of the exit policy of its mix, and how its thresholds came about.
        input_px: side of its input in pixels.
        macs: of the full network; counted.
        path: of the bundle or run.
        sha256: that identifies the bundle, or None.
        size_bytes: of the graphs in this precision, on disk; None where nothing is deployed.
    """

    name: str
    engine: str
    precision: str
    policy: str
    input_px: int
    macs: int
    path: str
    sha256: str | None
    size_bytes: int | None

    @property
    def label(self) -> str:
        """Name, engine and precision, short; versions stand among the sources."""
        return f"{self.name}, {self.engine.split()[0]} {self.precision}"


class Exit(NamedTuple):
    """An exit's name, and its MACs over those of the full network."""

    name: str
    macs_share: float


class Candidate(Protocol):
    """A network in one engine and precision."""

    @property
    def identity(self) -> Identity:
        """Which it is."""
        ...

    @property
    def exits(self) -> Sequence[Exit]:
        """G + 1 exits."""
        ...

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """A call that takes one image [1, S, S, 3] and leaves at one exit."""
        ...

    def decide(self, image: Images) -> int:
        """Take one image as far as it needs; the position among `exits` of the exit taken."""
        ...

    def read(self, file: Path) -> Images:
        """A file as the network takes it, [1, S, S, 3]."""
        ...

    def answer(self, file: Path) -> object:
        """From file to label."""
        ...

    def judge(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """What every exit says of images, scores in place of gates; None where their classes are not known to it."""
        ...


@dataclass(frozen=True)
class BundleCandidate:
    """A bundle on one engine in one precision, by one of its policies."""

    classifier: Classifier
    bundle: Bundle
    policy: Policy
    name: str

    @property
    def identity(self) -> Identity:
        """Which it is."""
        net, manifest = self.classifier.net, self.bundle.manifest
        return Identity(
            name=self.name,
            engine=net.engine_name,
            precision=net.precision,
            policy=f"{self.policy.name} ({self.policy.source})",
            input_px=manifest.input.size,
            macs=manifest.exits[-1].macs,
            path="ImageNet weights, exported for this" if self._is_untrained else str(self.bundle.path),
            sha256=self.bundle.sha256,
            size_bytes=sum(manifest.files[name].bytes for name in manifest.precisions[net.precision]),
        )

    @property
    def _is_untrained(self) -> bool:
        return "untrained" in self.bundle.manifest.provenance

    @property
    def exits(self) -> Sequence[Exit]:
        """As the manifest has them."""
        manifest = self.bundle.manifest
        return [Exit(way.name, share) for way, share in zip(manifest.exits, manifest.costs, strict=True)]

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """All segments up to one exit."""
        thresholds = tuple(0.0 if index == exit_index else NEVER for index in range(len(self.exits) - 1))
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
        return self.classifier.classify(file, policy=self.policy.name)

    def judge(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """One image after the other, as when it is timed; None of a classifier that has learned nothing."""
        labels = labels_of(files, self.bundle.manifest.classes)
        if labels is None or self._is_untrained:
            return None
        parts = [self.classifier.net.all_exits(images[row : row + 1]) for row in range(len(images))]
        logits, gates = (np.concatenate(each) for each in zip(*parts, strict=True))
        return self.policy.scores(ExitArrays(logits, gates, labels))


def labels_of(files: Sequence[Path], classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Class indices from the names of the folders that the files lie in; None unless every one is a class."""
    index = {name: position for position, name in enumerate(classes)}
    folders = [file.absolute().parent.name for file in files]  # a link counts where it lies, not where it points
    if not all(folder in index for folder in folders):
        return None
    return np.array([index[folder] for folder in folders], dtype=np.int64)
