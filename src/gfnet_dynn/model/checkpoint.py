"""Our own checkpoints: one safetensors file whose header holds, as JSON, what the network is and where it comes from.

One file, so that weights and description can neither part nor be written by halves, with a digest of both. A readable
copy of the description lies beside it as `.json`; it is never read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import safetensors
import safetensors.torch
import torch
from msgspec import Struct
from torch import Tensor

from gfnet_dynn.errors import CheckpointError, GFNetDynnError
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import load_published, published_state, state_digest
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.system.storage import to_json, write_bytes, write_json

FORMAT = "gfnet-dynn checkpoint 1"
SUFFIX = ".safetensors"

_Header = TypeVar("_Header", bound=Struct)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network.

    Attributes:
        provenance: how it was trained and on what data, as JSON values; thresholds chosen on the selection split.
    """

    spec: NetSpec
    state: Mapping[str, Tensor]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> EarlyExitNet:
        """The network with its weights, in evaluation mode, on the CPU."""
        net = build_net(self.spec)
        load_published(net, self.state, "the checkpoint")
        return net.eval()


class Header(Struct, frozen=True, tag_field="format", tag=FORMAT):
    """What a checkpoint holds beside its weights; the fields are those of `Checkpoint`."""

    spec: NetSpec
    provenance: dict[str, Any] = {}  # each header has its own


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Struct) -> Path:
    """Write tensors with a JSON header, and the digest of both, as one safetensors file, in one step.

    A StorageError where there is no space or permission; an older file is intact then.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    described = to_json(header).decode()
    metadata = {"json": described, "sha256": state_digest(plain, described)}
    return write_bytes(path, safetensors.torch.save(plain, metadata=metadata))


def load_tensors(path: Path, kind: type[_Header]) -> tuple[dict[str, Tensor], _Header]:
    """The tensors and header of `save_tensors`; a CheckpointError where missing, damaged, or of another kind."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no mapping: keys() only
    except Exception as error:  # a damaged or hostile file makes the reader fail in any way it likes
        raise CheckpointError(f"cannot read {path}: {str(error)[:300]}; it may be damaged or incomplete") from error
    described, digest = metadata.get("json"), metadata.get("sha256")
    if described is None or digest is None:
        raise CheckpointError(f"{path} was not written by gfnet-dynn: its header has no description or no digest")
    if digest != state_digest(tensors, described):
        raise CheckpointError(f"{path} is damaged: its content has another SHA-256 than was stored; copy it again")
    try:
        return tensors, msgspec.json.decode(described, type=kind)
    except (msgspec.DecodeError, GFNetDynnError, RecursionError) as error:
        raise CheckpointError(f"{path} is no file of this kind, or of another version: {error}") from error


def save_checkpoint(path: Path, net: EarlyExitNet, spec: NetSpec, provenance: Mapping[str, Any]) -> Path:
    """Write a network to `path`, and its description beside it as `.json` for people; errors as `save_tensors`."""
    header = Header(spec, dict(provenance))
    save_tensors(path, published_state(net), header)
    write_json(path.with_suffix(".json"), header)
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours; a CheckpointError where it is missing, damaged, or of another format or version."""
    state, header = load_tensors(path, Header)
    with torch.device("meta"):
        expected = _kinds(published_state(build_net(header.spec)))
    if differing := sorted({name for name, _ in expected ^ _kinds(state)}):
        raise CheckpointError(f"{path} does not hold the weights that it describes: {', '.join(differing[:4])}")
    return Checkpoint(header.spec, state, header.provenance)


def _kinds(state: Mapping[str, Tensor]) -> set[tuple[str, tuple[torch.Size, torch.dtype]]]:
    return {(name, (tensor.shape, tensor.dtype)) for name, tensor in state.items()}
