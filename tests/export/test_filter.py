from __future__ import annotations

import pytest
import torch

from gfnet_dynn.export.filter import ProductFilter
from gfnet_dynn.model.gfnet import GlobalFilter


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (7, 7), (10, 10), (16, 16), (20, 20), (4, 6), (5, 8)]
)
def test_products_give_what_the_fft_gives(height: int, width: int) -> None:
    torch.manual_seed(0)
    source = GlobalFilter(height, width, 6)
    with torch.no_grad():
        source.complex_weight.mul_(50)
    tokens = torch.randn(3, height * width, 6)
    grid = tokens.view(3, height, width, 6)
    expected = source._by_fft(grid).reshape(3, height * width, 6)
    assert torch.allclose(ProductFilter(source)(tokens), expected, atol=1e-5)
    assert expected.abs().max() > 0.5  # the tolerance means something


def test_the_transforms_are_the_same_for_every_filter() -> None:
    first, second = (ProductFilter(GlobalFilter(8, 8, 4)) for _ in range(2))
    for name in ("down", "across", "back_across", "back_up"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.spectrum, second.spectrum)
