"""The network that a run starts from: fresh weights, a published `.pth` or a checkpoint of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gfnet_dynn.data.learned_from import LearnedFrom, held_out_copies, learned_from_provenance, learned_from_unknown
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.data.split import Split, read_split
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import SUFFIX, Checkpoint, load_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import StateDict, has_exits, is_of_exits, load_imagenet, load_published, read_pth
from gfnet_dynn.runlayout import RunLayout, find_checkpoint_file
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.train.engine.loop import derived_seed
from gfnet_dynn.train.request import Start


def read_trained(path: Path) -> Checkpoint | StateDict:
    """A checkpoint of ours, or the tensors of a `.pth`; a CheckpointError where that is missing, damaged or unsafe."""
    file = find_checkpoint_file(path)
    return load_checkpoint(file) if file.suffix == SUFFIX else read_pth(file)


def trained_net(trained: Checkpoint | StateDict, spec: NetSpec, source: Path) -> EarlyExitNet:
    """A trained network for evaluation on data with the classes of `spec`, in evaluation mode.

    A CheckpointError where it is of other classes, of another network, or without early exits.
    """
    if isinstance(trained, Checkpoint) and trained.spec.classes != spec.classes:
        raise CheckpointError(_other_classes(trained, spec, source))
    state = trained.state if isinstance(trained, Checkpoint) else trained
    if spec.exit_blocks and not has_exits(state):
        raise CheckpointError(
            f"{source} is a plain network without early exits: train them first (the same without --eval)"
        )
    net = build_net(spec)
    load_published(net, state, str(source))
    return net.eval()


def describe_start(start: Start) -> dict[str, Any]:
    """As JSON values; weights are identified by their digest, as other ones may lie at the same path later."""
    digest = {"sha256": weights_digest(start.checkpoint)} if start.checkpoint else {}
    return {**asdict(start), "checkpoint": str(start.checkpoint) if start.checkpoint else None, **digest}


def weights_digest(path: Path) -> str | None:
    """SHA-256 of the weights file that a user's path means; None where there is none any more."""
    try:
        with find_checkpoint_file(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (CheckpointError, OSError):
        return None


@dataclass(frozen=True)
class InitialNet:
    """A network before its first step, and what the user should know of it.

    Its final classifier may be trained already, its batch norms keep the statistics that came with the weights, and
    `provenance` is that of the checkpoint it started from.
    """

    net: EarlyExitNet
    has_classifier: bool = False
    keeps_statistics: bool = False
    provenance: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def initial_net(spec: NetSpec, data: SceneData, seed: int, drop_path: float, start: Start) -> InitialNet:
    """The network to train.

    Raises:
        CheckpointError: the checkpoint does not fit, or has seen images that are to be reported on.
        MissingExtraError: the ImageNet weights are not installed.
    """
    torch.manual_seed(derived_seed(seed, "weights"))
    net = build_net(spec, drop_path)
    if start.checkpoint is not None:
        return _from_checkpoint(net, spec, data, start.checkpoint, start)
    trunk = spec.backbone.trunk
    if trunk is None or not start.pretrained:
        return InitialNet(net)
    load_imagenet(net.backbone, trunk)
    net.backbone.keep_statistics()
    return InitialNet(net, keeps_statistics=True)


def _from_checkpoint(net: EarlyExitNet, spec: NetSpec, data: SceneData, path: Path, start: Start) -> InitialNet:
    file, provenance = find_checkpoint_file(path), None
    notes: tuple[str, ...] = ()
    if file.suffix == SUFFIX:
        checkpoint = load_checkpoint(file)
        provenance, state = checkpoint.provenance, dict(checkpoint.state)
        require_unseen(provenance, data, file)
        if not start.new_head and checkpoint.spec.classes != spec.classes:
            raise CheckpointError(f"{_other_classes(checkpoint, spec, file)}, or --new-head to train new classifiers")
        exits = ((each.exit_blocks, each.exit_pooling) for each in (checkpoint.spec, spec))
        if not start.new_head and has_exits(state) and len(set(exits)) > 1:
            state = {name: tensor for name, tensor in state.items() if not is_of_exits(name)}
            notes = (f"the exits of {file} stand elsewhere or see something else: those of this run start fresh",)
    else:
        state = read_pth(file)
    load_published(net, state, str(path), new_head=start.new_head)
    net.backbone.keep_statistics()
    return InitialNet(net, not start.new_head, keeps_statistics=True, provenance=provenance, notes=notes)


def kept_split(file: Path, provenance: Mapping[str, Any]) -> Split | None:
    """The split that lies with the run that a checkpoint belongs to, if it is the one that the checkpoint speaks of.

    A DataError where it is there but damaged.
    """
    path, data = RunLayout(file.parent.parent).split, provenance.get("data", {})
    if not path.is_file():
        return None
    split = read_split(path)
    own = (split.fingerprint, asdict(split.settings)) == (data.get("fingerprint"), data.get("split"))
    return split if own else None


def learned_from_weights(path: Path) -> LearnedFrom:
    """What the network of a user's path has learned from, of which a published file has no record."""
    file = find_checkpoint_file(path)
    if file.suffix != SUFFIX:
        return learned_from_unknown(path)
    return learned_from_provenance(load_checkpoint(file).provenance, file)


def require_unseen(provenance: Mapping[str, Any], data: SceneData, file: Path) -> None:
    """Raise a CheckpointError where a network, or one that it builds upon, learned from images held out now."""
    if seen := held_out_copies(data.split, learned_from_provenance(provenance, file)):
        raise CheckpointError(
            f"{file}, or what it started from, has learned from {len(seen)} of the images that are held out now, such "
            f"as {data.source.root / seen[0]}: use the --split-seed, --split-ratio and --selection-share of its "
            "training, or start from another checkpoint"
        )


def _other_classes(checkpoint: Checkpoint, spec: NetSpec, file: Path) -> str:
    theirs, ours = (
        ", ".join(each.classes[:3]) + (", …" if len(each.classes) > 3 else "") for each in (checkpoint.spec, spec)
    )
    return (
        f"{file} classifies {len(checkpoint.spec.classes)} classes ({theirs}) but the data have {len(spec.classes)} "
        f"({ours}): use a checkpoint of this data set"
    )
