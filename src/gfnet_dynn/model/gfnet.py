"""Global Filter Network (Rao et al., Global Filter Networks for Image Classification, arXiv 2107.00645).

Parameter names are the published ones, so that published weights load by name.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfnet_dynn.model.backbone import Backbone, DropPath, convolution_macs, global_filter_macs, linear_macs
from gfnet_dynn.spec.backbone import GFNetSpec

LAYER_NORM_EPS = 1e-6
INIT_STD = 0.02

LARGEST_SIDE = 16
"""Up to this many positions along a side, matrix products are at least as fast on a CPU as an FFT.

Filtering [64, 8 · 8, 192] forward and back takes 6.1 ms as products and 16.3 ms by torch.fft, [64, 14 · 14, 192] 24 and
37 ms, [64, 16 · 16, 192] 86 and 86 ms; measured on two cores of a server CPU.
"""


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
    """Overlapping 3 × 3 convolutions of stride 2, each with batch norm and GELU, and a linear map to tokens.

    There are log2(patch) of them; the width doubles at each.
    Source: Xiao et al., Early Convolutions Help Transformers See Better, arXiv 2106.14881.
    """

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self._halvings = patch_size.bit_length() - 1
        channels = (3, *(width >> level for level in reversed(range(self._halvings))))
        self.convolutions = nn.Sequential(*(self._layer(inputs, outputs) for inputs, outputs in pairwise(channels)))
        self.proj = nn.Conv2d(width, width, kernel_size=1)
        self._channels = channels

    @staticmethod
    def _layer(inputs: int, outputs: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.GELU())

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] → [B, T, D] with T = (S / patch)²."""
        tokens: Tensor = self.proj(self.convolutions(images)).flatten(2).transpose(1, 2)
        return tokens

    def macs(self, image_size: int) -> int:
        """Multiply-accumulates for one image of `image_size` pixels a side."""
        total = 0
        for level, (inputs, outputs) in enumerate(pairwise(self._channels), start=1):
            total += convolution_macs((image_size >> level) ** 2, (3, 3), inputs, outputs)
        positions = (image_size >> self._halvings) ** 2
        return total + convolution_macs(positions, (1, 1), self._channels[-1], self._channels[-1])


class GlobalFilter(nn.Module):
    """Multiplies the tokens' 2-D spectrum by a learned complex filter: a circular convolution over the whole grid.

    `by_products`: transform small grids on a CPU by matrix products, which is faster there than the FFT.
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


class Products(NamedTuple):
    """The matrices of the 2-D real Fourier transform of H × W positions, F = W // 2 + 1 frequencies along the width.

    All are float32 on the CPU; "ortho" scaling is part of them.

    Attributes:
        width_forward: [2F, W], real parts above imaginary ones.
        height_forward: [2H, 2H], a complex transform on stacked real and imaginary parts.
        height_inverse: [2H, 2H].
        width_inverse: [W, 2F], the mirrored frequencies folded in.
    """

    width_forward: Tensor
    height_forward: Tensor
    height_inverse: Tensor
    width_inverse: Tensor


@cache
@torch.inference_mode(mode=False)  # else matrices first made at inference could not serve training
def products(height: int, width: int) -> Products:
    """The matrices for a grid of `height` × `width`, made once, from the transforms of unit vectors."""
    down, across, back = (
        torch.eye(side, dtype=torch.complex128, device="cpu") for side in (height, width, width // 2 + 1)
    )
    down, across = torch.fft.fft(down, norm="ortho"), torch.fft.rfft(across.real, norm="ortho").t()
    forward = torch.cat((torch.cat((down.real, -down.imag), dim=1), torch.cat((down.imag, down.real), dim=1)))
    inverse = torch.cat([torch.fft.irfft(part, n=width, norm="ortho") for part in (back, 1j * back)]).t()
    each = (torch.cat((across.real, across.imag)), forward, forward.t(), inverse)
    return Products(*(matrix.float().contiguous() for matrix in each))


def filter_by_products(grid: Tensor, complex_weight: Tensor) -> Tensor:
    """Multiply the spectrum of a grid by a filter: irfft2(rfft2(grid) · weight), "ortho"; [B, H, W, D].

    The grid, float32 [B, H, W, D], is on the CPU; the weight [H, W // 2 + 1, D, 2] has real and imaginary part last.
    """
    batch, height, width, channels = grid.shape
    frequencies = width // 2 + 1
    matrices = products(height, width)
    spectrum = torch.matmul(matrices.width_forward, grid).view(batch, height, 2, frequencies, channels)
    spectrum = spectrum.transpose(1, 2).reshape(batch, 2 * height, frequencies * channels)
    spectrum = torch.matmul(matrices.height_forward, spectrum).view(batch, 2, height, frequencies, channels)
    (real, imaginary), (weight_real, weight_imaginary) = spectrum.unbind(dim=1), complex_weight.unbind(dim=-1)
    filtered = torch.stack(
        (real * weight_real - imaginary * weight_imaginary, real * weight_imaginary + imaginary * weight_real), dim=1
    ).view(batch, 2 * height, frequencies * channels)
    filtered = torch.matmul(matrices.height_inverse, filtered).view(batch, 2, height, frequencies, channels)
    filtered = filtered.transpose(1, 2).reshape(batch, height, 2 * frequencies, channels)
    return torch.matmul(matrices.width_inverse, filtered)


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
        super().__init__()
        grid = spec.grid(image_size)
        tokens = grid * grid
        stem = PatchEmbedding if spec.stem == "patch" else ConvolutionalStem
        self.patch_embed = stem(spec.width, spec.patch_size)
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
