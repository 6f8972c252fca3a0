"""What a training run starts from: fresh weights, a published `.pth` or a checkpoint of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.checkpoint import SUFFIX, Checkpoint, load_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.pretrained import load_imagenet, trunk_of
from gfnet_dynn.model.weights import StateDict, load_published, read_pth
from gfnet_dynn.spec import NetSpec
from gfnet_dynn.train.seeding import derived_seed

RESULT_FOLDER = "checkpoint_result"
MODEL_FILE = f"model{SUFFIX}"


def find_checkpoint_file(path: Path) -> Path:
    """The weights file that a user's path means: a file, a folder with `model.safetensors`, or a run's folder.

    Raises:
        CheckpointError: there is none.
    """
    candidates = (path, path / MODEL_FILE, path / RESULT_FOLDER / MODEL_FILE)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(f"no checkpoint at {path}: expected a .pth or .safetensors file, or the folder of a run")


def read_state(path: Path) -> StateDict:
    """The tensors of a `.pth` or of a checkpoint of ours.

    Raises:
        CheckpointError: missing, damaged or unsafe.
    """
    file = find_checkpoint_file(path)
    return dict(load_checkpoint(file).state) if file.suffix == SUFFIX else read_pth(file)


def read_trained(path: Path, spec: NetSpec) -> Checkpoint:
    """A trained network for evaluation.

    A checkpoint of ours says itself what it is, but for the input's size, which `spec` may change. A `.pth` is taken
    for the network that `spec` describes.

    Raises:
        CheckpointError: missing, damaged, unsafe, or of other classes.
    """
    file = find_checkpoint_file(path)
    if file.suffix != SUFFIX:
        return Checkpoint(spec, read_pth(file), {"source": str(path)})
    checkpoint = load_checkpoint(file)
    if checkpoint.spec.classes != spec.classes:
        raise CheckpointError(
            f"{file} classifies {len(checkpoint.spec.classes)} classes ({_few(checkpoint.spec.classes)}), the data "
            f"have {len(spec.classes)} ({_few(spec.classes)}): use a checkpoint of this data set"
        )
    return replace(checkpoint, spec=replace(checkpoint.spec, input=spec.input))


def _few(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        checkpoint: weights to go on from, or None.
        new_head: take fresh classifiers where the checkpoint's are of another number of classes.
        pretrained: without a checkpoint, take ImageNet weights for a convolutional trunk.
    """

    checkpoint: Path | None = None
    new_head: bool = False
    pretrained: bool = True

    def describe(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "new_head": self.new_head,
            "pretrained": self.pretrained,
        }


def initial_net(spec: NetSpec, seed: int, drop_path: float, start: Start) -> tuple[EarlyExitNet, bool]:
    """The network to train.

    Args:
        spec: what to build.
        seed: of fresh weights.
        drop_path: stochastic depth in training.
        start: what to start from.

    Returns:
        The network, and whether its final classifier is trained already.

    Raises:
        CheckpointError: the checkpoint does not fit.
        MissingExtraError: the ImageNet weights are not installed.
    """
    torch.manual_seed(derived_seed(seed, "weights"))
    net = build_net(spec, drop_path)
    trunk = trunk_of(spec.backbone)
    if start.checkpoint is not None:
        state = read_state(start.checkpoint)
        load_published(net, state, str(start.checkpoint), new_head=start.new_head)
        net.backbone.keep_statistics()
        return net, len(state["head.weight"]) == len(spec.classes)
    if trunk is not None and start.pretrained:
        load_imagenet(net.backbone, trunk)
        net.backbone.keep_statistics()
    return net, False
