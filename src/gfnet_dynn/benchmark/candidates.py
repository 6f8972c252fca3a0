"""Candidates of a benchmark: networks in one engine and precision that process one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits import NEVER, ExitArrays
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.runtime.segments import AllExits, Images


@dataclass(frozen=True)
class Identity:
    """Which network, and how it runs."""

    name: str
    engine: str  # with its version
    precision: str
    policy: str  # name and source
    input_px: int
    macs: int  # multiply-accumulates of the full network; counted from shapes
    path: str  # of the bundle or run; a remark where the weights are in no file
    sha256: str | None  # of the bundle; None for other networks
    size_bytes: int | None  # of the graphs in this precision; None for networks that are not deployed
    device: str = "cpu"  # `cpu`, or the name of the GPU

    @property
    def label(self) -> str:
        """Name, engine without its version, precision, and the device unless it is the CPU."""
        device = "" if self.device == "cpu" else f", {self.device}"
        return f"{self.name}, {self.engine.split()[0]} {self.precision}{device}"


class ExitCost(NamedTuple):
    """Name of an exit, and its MACs as a share of the full network's."""

    name: str
    macs_share: float


class Candidate(Protocol):
    """A network in one engine and precision; an image is uint8 [1, S, S, 3]."""

    @property
    def identity(self) -> Identity:
        """Which network."""

    @property
    def exits(self) -> Sequence[ExitCost]:
        """G + 1 exits, the final one last."""

    def forced_to(self, exit_index: int) -> Callable[[Images], object]:
        """A call that runs one image up to the given exit."""

    def decide(self, image: Images) -> int:
        """Run one image by the exit policy; the index of the exit taken."""

    def read(self, file: Path) -> Images:
        """Decode a file and fit it to the input."""

    def classify(self, file: Path) -> object:
        """All of it, from the file to the label."""

    def exit_outputs(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """Outputs of all exits, the policy's score in place of the gates; None where the classes are unknown."""


def forced_thresholds(exit_index: int, num_gates: int) -> tuple[float, ...]:
    """Thresholds at which every image takes the given exit; the final one for `exit_index` G."""
    return tuple(0.0 if index == exit_index else NEVER for index in range(num_gates))


@dataclass(frozen=True)
class BundleCandidate:
    """A bundle in one engine and precision, by one of its policies."""

    classifier: Classifier
    bundle: Bundle
    policy: Policy

    @property
    def identity(self) -> Identity:
        """Which network."""
        net, manifest = self.classifier.net, self.bundle.manifest
        return Identity(
            name=self.bundle.path.stem,
            engine=net.engine_name,
            precision=net.precision,
            policy=f"{self.policy.name} ({self.policy.source})",
            input_px=manifest.input.size,
            macs=manifest.exits[-1].macs,
            path="ImageNet weights, exported for this benchmark" if self._is_untrained else str(self.bundle.path),
            sha256=self.bundle.sha256,
            size_bytes=sum(manifest.files[name].bytes for name in manifest.precisions[net.precision]),
        )

    @property
    def _is_untrained(self) -> bool:
        return "untrained" in self.bundle.manifest.provenance

    @property
    def exits(self) -> Sequence[ExitCost]:
        """Those of the manifest."""
        manifest = self.bundle.manifest
        return [ExitCost(each.name, share) for each, share in zip(manifest.exits, manifest.costs, strict=True)]

    def forced_to(self, exit_index: int) -> Callable[[Images], object]:
        """All segments up to the exit."""
        thresholds = forced_thresholds(exit_index, len(self.exits) - 1)
        policy = Policy("forced", "gate", thresholds, "to time one exit")
        return lambda image: self.classifier.net.decide(image, policy)

    def decide(self, image: Images) -> int:
        """By the policy."""
        return int(self.classifier.net.decide(image, self.policy).exits[0])

    def read(self, file: Path) -> Images:
        """Decode and fit."""
        return self.classifier.read(file)[None]

    def classify(self, file: Path) -> object:
        """As `gfnet-dynn classify` does."""
        return self.classifier.classify(file, policy=self.policy.name)

    def exit_outputs(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """One image after the other, as when it is timed; None for an untrained classifier."""
        labels = labels_of(files, self.bundle.manifest.classes)
        if labels is None or self._is_untrained:
            return None
        parts = [self.classifier.net.all_exits(images[row : row + 1]) for row in range(len(images))]
        logits, gates, distances = AllExits.joined(parts)
        return self.policy.scores(ExitArrays(logits, gates, labels, distances))


def labels_of(files: Sequence[Path], classes: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Class indices, [N], from the names of the files' folders; None unless every folder is a class."""
    index = {name: position for position, name in enumerate(classes)}
    folders = [file.absolute().parent.name for file in files]  # of a symbolic link, not of its target
    if not files or not all(folder in index for folder in folders):
        return None
    return np.array([index[folder] for folder in folders], dtype=np.int64)
