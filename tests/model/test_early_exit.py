"""The dynamic pass: same answers as the plain one, later blocks not run, batches compacted."""

from __future__ import annotations

import pytest
import torch

from gfnet_dynn.errors import ThresholdError
from gfnet_dynn.exits import NEVER, first_exit
from gfnet_dynn.model.early_exit import EarlyExitNet


def batch_sizes_at_each_block(
    net: EarlyExitNet, images: torch.Tensor, threshold: float | tuple[float, ...]
) -> list[int]:
    """How many samples each block sees during one decision; 0 where it is not run."""
    seen = [0] * net.backbone.num_blocks
    blocks = list(net.backbone.blocks)  # type: ignore[arg-type] # a GFNet's blocks

    def note(index: int):  # type: ignore[no-untyped-def]
        return lambda module, inputs, output: seen.__setitem__(index, len(output))

    handles = [block.register_forward_hook(note(index)) for index, block in enumerate(blocks)]
    net.decide(images, threshold)
    for handle in handles:
        handle.remove()
    return seen


def middle_threshold(net: EarlyExitNet, images: torch.Tensor) -> tuple[float, float]:
    """Thresholds with which some samples leave at each exit."""
    with torch.no_grad():
        gates = net(images).gate_logits.sigmoid()
    first = gates[:, 0].sort().values[5].item()
    staying = gates[gates[:, 0] < first]
    return first, staying[:, 1].sort().values[2].item()


def test_decisions_agree_with_the_plain_pass_and_the_exit_rule(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    thresholds = middle_threshold(small_net, images)
    with torch.no_grad():
        plain = small_net(images)
    wanted = first_exit(plain.gate_logits.sigmoid().numpy(), thresholds)
    assert set(wanted.tolist()) == {0, 1, 2}
    decision = small_net.decide(images, thresholds)
    assert decision.exits.tolist() == wanted.tolist()
    at_exit = plain.logits[torch.arange(len(images)), torch.from_numpy(wanted)]
    torch.testing.assert_close(decision.logits, at_exit, rtol=0, atol=1e-5)


def test_samples_that_left_are_in_no_later_block(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    thresholds = middle_threshold(small_net, images)
    exits = small_net.decide(images, thresholds).exits
    after_first, after_second = int((exits > 0).sum()), int((exits > 1).sum())
    assert batch_sizes_at_each_block(small_net, images, thresholds) == [
        9,
        after_first,
        after_first,
        after_second,
        after_second,
    ]


def test_no_later_block_runs_when_all_left(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    assert batch_sizes_at_each_block(small_net, images, 0.0) == [9, 0, 0, 0, 0]
    assert batch_sizes_at_each_block(small_net, images, (NEVER, 0.0)) == [9, 9, 9, 0, 0]
    assert batch_sizes_at_each_block(small_net, images, NEVER) == [9] * 5


def test_a_sample_decides_alone_as_it_does_in_a_batch(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    thresholds = middle_threshold(small_net, images)
    together = small_net.decide(images, thresholds)
    for row in range(len(images)):
        alone = small_net.decide(images[row : row + 1], thresholds)
        assert alone.exits.item() == together.exits[row].item()
        torch.testing.assert_close(alone.logits[0], together.logits[row], rtol=0, atol=1e-5)


def test_wrong_number_of_thresholds_is_refused(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    with pytest.raises(ThresholdError, match="3 thresholds for a network with 2 early exits"):
        small_net.decide(images, (0.1, 0.2, 0.3))


def test_an_empty_batch_gives_an_empty_decision(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    decision = small_net.decide(images[:0], 0.5)
    assert decision.logits.shape == (0, 3)
    assert decision.exits.shape == (0,)
