"""Our own checkpoints: one safetensors file whose header holds, as JSON, what the network is and where it comes from.

One file, so that weights and description can neither part nor be written by halves. A readable copy of the description
lies beside it as `.json`; it is never read back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gfnet_dynn.errors import CheckpointError, SpecError
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import load_published, published_state
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.system.storage import write_bytes, write_json

FORMAT = "gfnet-dynn checkpoint 1"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network.

    Attributes:
        spec: what to build.
        state: its weights by published name.
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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write tensors with a JSON header as one safetensors file, in one step.

    Raises:
        StorageError: no space or no permission; an older file is intact.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return write_bytes(path, safetensors.torch.save(plain, metadata={"json": json.dumps(header)}))


def load_tensors(path: Path, expected_format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: tensors and header.

    Raises:
        CheckpointError: missing, damaged, or of another format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata.get("json", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no mapping: keys() only
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except (OSError, safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; it may be damaged or incomplete") from error
    if header.get("format") != expected_format:
        raise CheckpointError(f"{path} is not a '{expected_format}' file (its format is {header.get('format')!r})")
    return tensors, header


def save_checkpoint(path: Path, net: EarlyExitNet, spec: NetSpec, provenance: Mapping[str, Any]) -> Path:
    """Write a network to `path`, and its description beside it as `.json` for people.

    Raises:
        StorageError: no space or no permission; an older checkpoint is intact.
    """
    header = {"format": FORMAT, "spec": spec.to_dict(), "provenance": dict(provenance)}
    save_tensors(path, published_state(net), header)
    write_json(path.with_suffix(".json"), header)
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours.

    Raises:
        CheckpointError: missing, damaged, or of another format or version.
    """
    state, header = load_tensors(path, FORMAT)
    try:
        spec = NetSpec.from_dict(header["spec"])
    except (KeyError, SpecError) as error:
        raise CheckpointError(f"{path} has no usable description of its network: {error}") from error
    checkpoint = Checkpoint(spec, state, header.get("provenance", {}))
    with torch.device("meta"):
        expected = published_state(build_net(spec))
    differing = sorted(name for name in expected.keys() ^ state.keys())
    if differing:
        raise CheckpointError(f"{path} does not hold the weights that it describes: {', '.join(differing[:4])}")
    return checkpoint
