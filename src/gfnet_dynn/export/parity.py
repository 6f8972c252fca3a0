"""Compares the outputs of exported segments with those of the network, on real images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.errors import ExportError
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.exits import ExitArrays, first_exit
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.runtime.segments import AllExits, Images, SegmentedNet
from gfnet_dynn.spec.network import InputSpec

TOLERANCE = 1e-4
"""Allowed difference of a gate, and of a logit as a share of the largest one or of 1."""

_BATCH = 32


@dataclass(frozen=True)
class Parity:
    """How far exported segments are from the network."""

    images: int
    logits: float  # largest difference over all exits, as a share of the largest logit or of 1 if that is more
    gates: float  # largest difference over all exits
    other_exits: int  # images that take another exit, as their scores lie on both sides of a threshold
    engine: str


def network_arrays(net: EarlyExitNet, images: Images, labels: npt.NDArray[np.int64], image: InputSpec) -> ExitArrays:
    """The network's outputs at all exits on the CPU, in float32: images uint8 [N, S, S, 3], labels [N]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (image.mean, image.std))

    def batch(start: int) -> Batch:
        pixels = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 255
        return Batch((pixels - mean) / std, torch.from_numpy(labels[start : start + _BATCH]))

    return collect(net, map(batch, range(0, len(images), _BATCH)))


def segment_arrays(net: SegmentedNet, images: Images, labels: npt.NDArray[np.int64]) -> ExitArrays:
    """The outputs of exported segments at all exits."""
    parts = [net.all_exits(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    logits, gates, distances = AllExits.joined(parts)
    return ExitArrays(logits, gates, labels, distances)


def compare(network: ExitArrays, segments: ExitArrays, policy: Policy, engine: str) -> Parity:
    """The largest differences."""
    scale = max(1.0, float(np.abs(network.logits).max()))
    exits = [first_exit(policy.scores(each).gates, policy.thresholds) for each in (network, segments)]
    return Parity(
        images=len(network.labels),
        logits=float(np.abs(network.logits - segments.logits).max()) / scale,
        gates=float(np.abs(network.gates - segments.gates).max(initial=0.0)),
        other_exits=int((exits[0] != exits[1]).sum()),
        engine=engine,
    )


def require_parity(parity: Parity) -> None:
    """Raise ExportError where outputs differ by more than `TOLERANCE`, or are not numbers."""
    if not (parity.logits <= TOLERANCE and parity.gates <= TOLERANCE):
        raise ExportError(
            f"the exported segments' outputs differ from the network's on {parity.images} images (logits differ by "
            f"{parity.logits:.1e}, gates by {parity.gates:.1e}; at most {TOLERANCE:g} is allowed): nothing was written"
        )
