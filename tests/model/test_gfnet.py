"""The backbone: what the filter computes, and that it does so under any autocast."""

from __future__ import annotations

import pytest
import torch

from gfnet_dynn.backbone_spec import GFNetSpec
from gfnet_dynn.errors import SpecError
from gfnet_dynn.model.drop_path import DropPath
from gfnet_dynn.model.gfnet import GFNet, GlobalFilter


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 5), (3, 6)])
def test_the_filter_is_a_circular_convolution_with_the_kernel_of_its_weights(height: int, width: int) -> None:
    layer = GlobalFilter(height, width, channels=2)
    tokens = torch.randn(1, height * width, 2)
    mixed = layer(tokens).view(height, width, 2)
    # A real spectrum is symmetric: the imaginary part of the frequencies that are their own mirror image drops out.
    kernel = torch.fft.irfft2(torch.view_as_complex(layer.complex_weight), s=(height, width), dim=(0, 1))
    grid = tokens.view(height, width, 2)
    for row in range(height):
        for column in range(width):
            moved = kernel.flip(0, 1).roll((row + 1, column + 1), dims=(0, 1))
            torch.testing.assert_close(mixed[row, column], (grid * moved).sum(dim=(0, 1)), rtol=1e-4, atol=1e-6)


def test_the_filter_stays_in_float32_under_autocast() -> None:
    layer = GlobalFilter(4, 4, channels=3)
    tokens = torch.randn(2, 16, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(tokens)
    torch.testing.assert_close(mixed, layer(tokens), rtol=0, atol=0)


def test_half_precision_tokens_come_back_in_their_own_precision() -> None:
    assert GlobalFilter(4, 4, channels=3)(torch.randn(2, 16, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_drop_path_drops_whole_samples_in_training_and_nothing_at_inference() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.5)
    branch = torch.ones(400, 3)
    dropped = layer(branch)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert all(len(set(row.tolist())) == 1 for row in dropped)
    assert 0.4 < dropped.count_nonzero().item() / 1200 < 0.6
    assert torch.equal(layer.eval()(branch), branch)


def test_drop_path_rises_linearly_to_the_last_block() -> None:
    net = GFNet(GFNetSpec(width=8, depth=5, patch_size=4), image_size=16, drop_path=0.4)
    rates = [module.probability for module in net.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_an_input_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(SpecError, match="592 or 608"):
        GFNet(GFNetSpec(width=8, depth=2), image_size=600)
