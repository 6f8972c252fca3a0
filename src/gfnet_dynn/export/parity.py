"""Shows that exported segments give the answers of the network that they come from, on real images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ExportError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.runtime.segments import Images, SegmentedNet
from gfnet_dynn.spec.network import InputSpec

TOLERANCE = 1e-4
"""Largest difference of a gate, and of a logit as a share of the largest one or of 1, that is still the same answer."""

_BATCH = 32


@dataclass(frozen=True)
class Parity:
    """How far exported segments are from the network.

    Attributes:
        images: compared.
        logits: largest difference over all exits, as a share of the largest logit or of 1 if that is more.
        gates: largest difference over all exits.
        other_exits: images that leave elsewhere, by thresholds that their scores straddle.
        engine: that ran the segments.
    """

    images: int
    logits: float
    gates: float
    other_exits: int
    engine: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@torch.inference_mode()
def network_arrays(net: EarlyExitNet, images: Images, labels: npt.NDArray[np.int64], image: InputSpec) -> ExitArrays:
    """What the network says at all exits, in float32.

    Args:
        net: in evaluation mode, on the CPU.
        images: uint8 [N, S, S, 3].
        labels: [N].
        image: how they are normalised.
    """
    logits, gates = [], []
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (image.mean, image.std))
    for start in range(0, len(images), _BATCH):
        pixels = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 255
        outputs = net((pixels - mean) / std)
        logits.append(outputs.logits.numpy())
        gates.append(outputs.gate_logits.sigmoid().numpy())
    return ExitArrays(np.concatenate(logits), np.concatenate(gates), labels)


def segment_arrays(net: SegmentedNet, images: Images, labels: npt.NDArray[np.int64]) -> ExitArrays:
    """What exported segments say at all exits."""
    parts = [net.all_exits(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    return ExitArrays(np.concatenate([each[0] for each in parts]), np.concatenate([each[1] for each in parts]), labels)


def compare(network: ExitArrays, segments: ExitArrays, policy: Policy, engine: str) -> Parity:
    """Hold the answers of both against each other."""
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
    """Refuse an export that gives other answers.

    Raises:
        ExportError: it does, or gives no numbers.
    """
    if not (parity.logits <= TOLERANCE and parity.gates <= TOLERANCE):
        raise ExportError(
            f"the exported segments do not give the network's answers on {parity.images} images (logits differ by "
            f"{parity.logits:.1e}, gates by {parity.gates:.1e}; at most {TOLERANCE:g} is allowed): nothing was written"
        )
