"""Our own checkpoints: what comes back, and what a damaged or foreign file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import FORMAT, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from gfnet_dynn.model.early_exit import EarlyExitNet
from tests.model.conftest import SMALL


def test_a_network_comes_back_with_its_spec_and_provenance(
    small_net: EarlyExitNet, images: torch.Tensor, tmp_path: Path
) -> None:
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {"stage": "joint"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec == SMALL
    assert checkpoint.provenance == {"stage": "joint"}
    with torch.no_grad():
        for mine, theirs in zip(checkpoint.build()(images), small_net(images), strict=True):
            assert torch.equal(mine, theirs)
    beside = json.loads((tmp_path / "net.json").read_text(encoding="utf-8"))
    assert beside["spec"]["classes"] == ["a", "b", "c"]


def test_damage_is_noticed(small_net: EarlyExitNet, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {})
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-7], b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"net\.safetensors"):
            load_checkpoint(path)


def test_absent_foreign_and_incomplete_files_are_named(small_net: EarlyExitNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "absent.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="is not a 'gfnet-dynn checkpoint 1' file"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {})
    tensors, header = load_tensors(path, FORMAT)
    del tensors["head.bias"]
    save_tensors(path, tensors, header)
    with pytest.raises(CheckpointError, match=r"does not hold the weights that it describes: head\.bias"):
        load_checkpoint(path)
    save_tensors(path, tensors, {"format": FORMAT, "spec": {"classes": ["a", "b"]}})
    with pytest.raises(CheckpointError, match="no usable description"):
        load_checkpoint(path)
