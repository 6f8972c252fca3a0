"""Published files: what loads, what is resized, what is refused and how it says so."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import load_published, published_state, read_pth, resize_filter, resize_position
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from tests.model.conftest import SMALL


def other(size: int = 16, classes: tuple[str, ...] = ("a", "b", "c"), width: int = 12) -> EarlyExitNet:
    return build_net(NetSpec(GFNetSpec(width, 5, 4), SMALL.exit_blocks, InputSpec(size), classes)).eval()


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_a_file_as_published_gives_the_same_outputs(
    small_net: EarlyExitNet, images: torch.Tensor, tmp_path: Path, wrapper: str | None
) -> None:
    state = published_state(small_net)
    assert "blocks.0.filter.complex_weight" in state
    assert "patch_embed.proj.weight" in state
    content = {wrapper: state, "args": argparse.Namespace(lr=0.1), "epoch": 3} if wrapper else state
    torch.save(content, tmp_path / "net.pth")
    loaded = other()
    load_published(loaded, read_pth(tmp_path / "net.pth"), "net.pth")
    with torch.no_grad():
        assert torch.equal(loaded(images).logits, small_net(images).logits)


def test_the_prefix_of_parallel_training_is_removed(small_net: EarlyExitNet, tmp_path: Path) -> None:
    torch.save({f"module.{name}": value for name, value in published_state(small_net).items()}, tmp_path / "net.pth")
    load_published(other(), read_pth(tmp_path / "net.pth"), "net.pth")


def test_a_plain_gfnet_leaves_the_exits_fresh(small_net: EarlyExitNet) -> None:
    plain = {n: t for n, t in published_state(small_net).items() if not n.startswith(("gates", "intermediate"))}
    net = other()
    fresh = published_state(net)["intermediate_heads.0.weight"].clone()
    load_published(net, plain, "plain")
    assert torch.equal(published_state(net)["intermediate_heads.0.weight"], fresh)
    assert torch.equal(net.head.weight, small_net.head.weight)


def test_a_pickled_object_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(ran)!r}, 'w')",))

    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError, match=r"trap\.pth is refused: it holds pickled objects"):
        read_pth(tmp_path / "trap.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="refused"):
        read_pth(tmp_path / "bare.pth")
    assert not ran.exists()


def test_files_that_are_no_state_dict_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_pth(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"text\.pth"):
        read_pth(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_pth(tmp_path / "list.pth")


def test_a_truncated_file_is_named(small_net: EarlyExitNet, tmp_path: Path) -> None:
    torch.save(published_state(small_net), tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"net\.pth"):
        read_pth(tmp_path / "net.pth")


def test_missing_and_unknown_names_are_listed(small_net: EarlyExitNet) -> None:
    state = published_state(small_net)
    del state["norm.weight"]
    state["cls_token"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"missing: norm\.weight; not of this network: cls_token"):
        load_published(other(), state, "x.pth")


def test_a_wrong_shape_is_named_with_both_shapes(small_net: EarlyExitNet) -> None:
    with pytest.raises(CheckpointError, match=r"pos_embed is \[1, 16, 12\], the network needs \[1, 16, 16\]"):
        load_published(other(width=16), published_state(small_net), "x.pth")


def test_another_class_count_is_refused_unless_new_heads_are_wanted(small_net: EarlyExitNet) -> None:
    net = other(classes=("a", "b", "c", "d"))
    with pytest.raises(CheckpointError, match=r"classifies 3 classes but the data have 4.*--new-head"):
        load_published(net, published_state(small_net), "x.pth")
    fresh = net.head.weight.detach().clone()
    load_published(net, published_state(small_net), "x.pth", new_head=True)
    assert torch.equal(net.head.weight, fresh)
    assert torch.equal(published_state(net)["pos_embed"], published_state(small_net)["pos_embed"])


def test_a_change_of_resolution_resizes_filter_and_position(small_net: EarlyExitNet) -> None:
    net = other(size=32)
    load_published(net, published_state(small_net), "x.pth")
    state, old = published_state(net), published_state(small_net)
    assert state["blocks.1.filter.complex_weight"].shape == (8, 5, 12, 2)
    # The corners of a bilinear resize without aligned corners repeat those of the original.
    torch.testing.assert_close(
        state["blocks.1.filter.complex_weight"][0, 0], old["blocks.1.filter.complex_weight"][0, 0]
    )
    torch.testing.assert_close(state["pos_embed"][0, -1], old["pos_embed"][0, -1])


def test_resizing_a_ramp_keeps_it_a_ramp() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    position = (10 * rows + columns).reshape(1, 16, 1)
    grid = resize_position(position, 64).view(8, 8)
    inner = grid[1:-1, 1:-1]
    torch.testing.assert_close(inner[1:] - inner[:-1], torch.full((5, 6), 5.0))
    torch.testing.assert_close(inner[:, 1:] - inner[:, :-1], torch.full((6, 5), 0.5))
    weight = torch.stack((rows[:, :3], columns[:, :3]), dim=2).unsqueeze(2)
    resized = resize_filter(weight, 8, 5)
    assert resized.shape == (8, 5, 1, 2)
    torch.testing.assert_close(resized[2:4, 0, 0, 0], torch.tensor([0.75, 1.25]))
    assert resized[0, :, 0, 0].abs().max() == 0  # the parts are not mixed up
