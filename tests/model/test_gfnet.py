"""The backbone: what the filter computes, and that it does so under any autocast."""

from __future__ import annotations

import pytest
import torch

from gfnet_dynn.errors import SpecError
from gfnet_dynn.model.backbone import DropPath
from gfnet_dynn.model.gfnet import LARGEST_SIDE, GFNet, GlobalFilter, filter_by_products
from gfnet_dynn.spec.backbone import GFNetSpec


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


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 8), (7, 7), (5, 8), (16, 16)])
def test_matrix_products_equal_the_fft_forward_and_back(height: int, width: int) -> None:
    grid = torch.randn(2, height, width, 3, requires_grad=True)
    weight = torch.randn(height, width // 2 + 1, 3, 2, requires_grad=True)
    spectrum = torch.fft.rfft2(grid, dim=(1, 2), norm="ortho") * torch.view_as_complex(weight)
    by_fft = torch.fft.irfft2(spectrum, s=(height, width), dim=(1, 2), norm="ortho")
    by_products = filter_by_products(grid, weight)
    torch.testing.assert_close(by_products, by_fft, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(by_fft)
    for one, other in zip(
        torch.autograd.grad(by_products, (grid, weight), upstream),
        torch.autograd.grad(by_fft, (grid, weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_matrices_first_made_at_inference_serve_training() -> None:
    with torch.inference_mode():
        filter_by_products(torch.randn(1, 9, 11, 2), torch.randn(9, 6, 2, 2))
    grid = torch.randn(1, 9, 11, 2, requires_grad=True)
    torch.autograd.backward(filter_by_products(grid, torch.randn(9, 6, 2, 2)).sum())
    assert grid.grad is not None


def test_large_grids_are_filtered_by_fft() -> None:
    side = LARGEST_SIDE + 1
    layer = GlobalFilter(side, side, channels=2)
    tokens = torch.randn(1, side * side, 2)
    expected = filter_by_products(tokens.view(1, side, side, 2), layer.complex_weight)
    torch.testing.assert_close(layer(tokens).view(1, side, side, 2), expected, rtol=1e-4, atol=1e-5)


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
