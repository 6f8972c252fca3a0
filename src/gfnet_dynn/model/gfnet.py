"""Global Filter Network (Rao et al., Global Filter Networks for Image Classification, arXiv 2107.00645).

Parameter names are the published ones, so that published weights load by name.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gfnet_dynn.model.backbone import Backbone, DropPath, convolution_macs, global_filter_macs, linear_macs
from gfnet_dynn.model.spectrum import LARGEST_SIDE, filter_by_products
from gfnet_dynn.spec.backbone import GFNetSpec

LAYER_NORM_EPS = 1e-6
INIT_STD = 0.02


class PatchEmbedding(nn.Module):
    """Cuts an image into patches and maps each to a token: [B, 3, S, S] → [B, T, D] with T = (S / patch)²."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] → [B, T, D], rows of the grid one after the other."""
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens

    def macs(self, image_size: int) -> int:
        """Multiply-accumulates for one image of `image_size` pixels a side."""
        patch = self.proj.kernel_size[0]
        return convolution_macs((image_size // patch) ** 2, (patch, patch), 3, self.proj.out_channels)


class ConvolutionalStem(nn.Module):
    """Four 3 × 3 convolutions of stride 2, each with batch norm and GELU, and a linear map to tokens.

    Source: Xiao et al., Early Convolutions Help Transformers See Better, arXiv 2106.14881.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (3, width // 8, width // 4, width // 2, width)
        self.convolutions = nn.Sequential(
            *(self._layer(inputs, outputs) for inputs, outputs in pairwise(channels)),
        )
        self.proj = nn.Conv2d(width, width, kernel_size=1)
        self._channels = channels

    @staticmethod
    def _layer(inputs: int, outputs: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.GELU())

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] → [B, T, D] with T = (S / 16)²."""
        tokens: Tensor = self.proj(self.convolutions(images)).flatten(2).transpose(1, 2)
        return tokens

    def macs(self, image_size: int) -> int:
        """Multiply-accumulates for one image of `image_size` pixels a side."""
        total = 0
        for level, (inputs, outputs) in enumerate(pairwise(self._channels), start=1):
            total += convolution_macs((image_size >> level) ** 2, (3, 3), inputs, outputs)
        return total + convolution_macs((image_size >> 4) ** 2, (1, 1), self._channels[-1], self._channels[-1])


class GlobalFilter(nn.Module):
    """Multiplies the tokens' 2-D spectrum by a learned complex filter: a circular convolution over the whole grid.

    Attributes:
        by_products: transform small grids on a CPU by matrix products, which is faster there than the FFT.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.by_products = True
        # Complex as real with a last axis (real, imaginary): as published, and what optimisers expect.
        self.complex_weight = nn.Parameter(torch.randn(height, width // 2 + 1, channels, 2) * INIT_STD)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]; computed in float32 whatever the autocast, as half precision loses the phase."""
        batch, length, channels = tokens.shape
        with torch.autocast(tokens.device.type, enabled=False):
            grid = tokens.float().view(batch, self.height, self.width, channels)
            small = grid.device.type == "cpu" and max(self.height, self.width) <= LARGEST_SIDE
            by_products = self.by_products and small
            mixed = filter_by_products(grid, self.complex_weight) if by_products else self._by_fft(grid)
        return mixed.reshape(batch, length, channels).to(tokens.dtype)

    def _by_fft(self, grid: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(grid, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.complex_weight)
        mixed: Tensor = torch.fft.irfft2(spectrum, s=(self.height, self.width), dim=(1, 2), norm="ortho")
        return mixed


class MLP(nn.Module):
    """Two linear maps with GELU between them, on each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        mapped: Tensor = self.fc2(nn.functional.gelu(self.fc1(tokens)))
        return mapped


class Block(nn.Module):
    """Filter and MLP under one residual: x + DropPath(MLP(LN(F(LN(x)))))."""

    def __init__(self, spec: GFNetSpec, grid: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPS)
        self.filter = GlobalFilter(grid, grid, spec.width)
        self.norm2 = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPS)
        self.mlp = MLP(spec.width, spec.width * spec.mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        branch = self.mlp(self.norm2(self.filter(self.norm1(tokens))))
        mixed: Tensor = tokens + self.drop_path(branch)
        return mixed


def block_macs(spec: GFNetSpec, grid: int) -> int:
    """Multiply-accumulates of one block on `grid` × `grid` tokens."""
    tokens, hidden = grid * grid, spec.width * spec.mlp_ratio
    mlp = linear_macs(tokens, spec.width, hidden) + linear_macs(tokens, hidden, spec.width)
    return global_filter_macs(grid, grid, spec.width) + mlp


class GFNet(Backbone):
    """Patch embedding and global-filter blocks; the final norm is shared by all exits."""

    def __init__(self, spec: GFNetSpec, image_size: int, drop_path: float = 0.0) -> None:
        """Build with fresh weights.

        Raises:
            SpecError: the patch does not divide the input.
        """
        super().__init__()
        grid = spec.grid(image_size)
        tokens = grid * grid
        self.patch_embed = (
            PatchEmbedding(spec.width, spec.patch_size) if spec.stem == "patch" else ConvolutionalStem(spec.width)
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, spec.width))
        rates = [drop_path * index / max(1, spec.depth - 1) for index in range(spec.depth)]
        self.blocks = nn.ModuleList(Block(spec, grid, rate) for rate in rates)
        self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPS)

        self.widths = (spec.width,) * spec.depth
        self.stem_macs = self.patch_embed.macs(image_size)
        self.block_macs = (block_macs(spec, grid),) * spec.depth
        self.apply(init_weights)
        nn.init.trunc_normal_(self.pos_embed, std=INIT_STD)

    def first_modules(self, count: int) -> list[nn.Module]:
        """The patch embedding and the first blocks; the position is still trained."""
        return [self.patch_embed, *self.blocks[:count]]

    def stem(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, S, S] → tokens [B, T, D] with their position added."""
        tokens: Tensor = self.patch_embed(images) + self.pos_embed
        return tokens

    def block(self, index: int, features: Tensor) -> Tensor:
        """Block `index`: [B, T, D] → [B, T, D]."""
        tokens: Tensor = self.blocks[index](features)
        return tokens

    def seen(self, index: int, features: Tensor) -> Tensor:
        """The tokens after the final norm, which every exit shares: [B, T, D]."""
        del index
        normed: Tensor = self.norm(features)
        return normed


def init_weights(module: nn.Module) -> None:
    """Truncated normal for linear maps, zero for their biases, as published."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)
