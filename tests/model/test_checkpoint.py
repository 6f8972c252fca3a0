"""Our own checkpoints: what comes back, and what a damaged or foreign file says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import FORMAT, Header, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import state_digest
from gfnet_dynn.spec.network import NetSpec
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


def test_a_flipped_bit_of_a_weight_is_noticed(small_net: EarlyExitNet, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {})
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged: .* SHA-256"):
        load_checkpoint(path)


def test_a_changed_description_is_noticed(small_net: EarlyExitNet, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {"stage": "joint"})
    path.write_bytes(path.read_bytes().replace(b"joint", b"drawn"))
    with pytest.raises(CheckpointError, match=r"net\.safetensors is damaged"):
        load_checkpoint(path)


def test_absent_foreign_and_incomplete_files_are_named(small_net: EarlyExitNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "absent.safetensors")
    os.mkfifo(tmp_path / "fifo.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "fifo.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="was not written by gfnet-dynn"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {})
    tensors, header = load_tensors(path, Header)
    for changed in (
        {name: tensor for name, tensor in tensors.items() if name != "head.bias"},
        {**tensors, "head.bias": torch.zeros(4)},
        {**tensors, "head.bias": tensors["head.bias"].double()},
        {**tensors, "more": torch.zeros(4)},
    ):
        save_tensors(path, changed, header)
        with pytest.raises(CheckpointError, match=r"does not hold the weights that it describes: (head\.bias|more)"):
            load_checkpoint(path)


DESCRIBED: dict[str, Any] = {"format": FORMAT, "spec": SMALL.to_dict(), "provenance": {}}


def with_backbone(**changes: object) -> str:
    spec = DESCRIBED["spec"]
    return json.dumps({**DESCRIBED, "spec": {**spec, "backbone": {**spec["backbone"], **changes}}})


@pytest.mark.parametrize(
    "described",
    [
        *("", "[]", "7", "null", "{}", "{", "NaN", "[" * 100_000, '{"spec": ' * 100_000),
        json.dumps({**DESCRIBED, "format": "gfnet-dynn checkpoint 99"}),
        json.dumps({**DESCRIBED, "format": 1}),
        json.dumps({**DESCRIBED, "spec": {"classes": ["a", "b"]}}),
        json.dumps({**DESCRIBED, "provenance": []}),
        with_backbone().replace('"width": 12', '"width": ' + "9" * 6000),
        with_backbone().replace('"width": 12', '"width": 1e400'),
        *(with_backbone(width=value) for value in (0, -1, 10**9, 10**30, 12.5, "12", None, True)),
        *(with_backbone(depth=value) for value in (0, 10**9, 2**63)),
        with_backbone(mlp_ratio=10**9),
        with_backbone(patch_size=10**9),
        with_backbone(kind="another"),
    ],
    ids=lambda described: described[:30],
)
def test_a_description_that_none_writes_is_refused(tmp_path: Path, described: str) -> None:
    path, tensors = tmp_path / "net.safetensors", {"head.bias": torch.zeros(3)}
    metadata = {"json": described, "sha256": state_digest(tensors, described)}
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=r"net\.safetensors"):
        load_checkpoint(path)


def test_the_widest_and_deepest_description_is_refused_for_its_weights(tmp_path: Path) -> None:
    widest = {**SMALL.to_dict(), "backbone": {"kind": "gfnet", "width": 16_384, "depth": 256, "patch_size": 1}}
    spec = msgspec.convert({**widest, "input": {"size": 4096}}, NetSpec)
    path = save_tensors(tmp_path / "net.safetensors", {"head.bias": torch.zeros(3)}, Header(spec))
    with pytest.raises(CheckpointError, match="does not hold the weights that it describes"):
        load_checkpoint(path)


def test_what_is_no_number_is_null_in_a_description(small_net: EarlyExitNet, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "net.safetensors", small_net, SMALL, {"loss": float("nan")})
    assert load_checkpoint(path).provenance == {"loss": None}
    assert b"NaN" not in path.with_suffix(".json").read_bytes()
