"""A convolutional trunk that ends early, then global-filter blocks on its feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfnet_dynn.model.backbone import Backbone, convolution_macs
from gfnet_dynn.model.efficientnet_lite import LiteTrunk, init_convolutions, store_channels_last
from gfnet_dynn.model.gfnet import INIT_STD, LAYER_NORM_EPS, Block, block_macs, init_weights
from gfnet_dynn.spec.backbone import GFNetSpec, HybridSpec


class Hybrid(Backbone):
    """Trunk blocks, then global-filter blocks; a linear map and a position stand before the first of these."""

    def __init__(self, spec: HybridSpec, image_size: int, drop_path: float = 0.0) -> None:
        """Build with fresh weights."""
        super().__init__()
        grid, kept = spec.grid(image_size), spec.cut + 1
        blocks = GFNetSpec(spec.width, spec.depth_after, mlp_ratio=spec.mlp_ratio)
        self.trunk = LiteTrunk(spec.trunk, image_size, 0.0, kept)
        self.proj = nn.Conv2d(self.trunk.widths[-1], spec.width, kernel_size=1)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid, spec.width))
        rates = [drop_path * (index + 1) / spec.depth_after for index in range(spec.depth_after)]
        self.blocks = nn.ModuleList(Block(blocks, grid, rate) for rate in rates)
        self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPS)

        self.kept = kept
        self.widths = (*self.trunk.widths, *[spec.width] * spec.depth_after)
        self.stem_macs = self.trunk.stem_macs
        entry = convolution_macs(grid * grid, (1, 1), self.trunk.widths[-1], spec.width)
        each = block_macs(blocks, grid)
        self.block_macs = (*self.trunk.block_macs, entry + each, *[each] * (spec.depth_after - 1))
        init_convolutions(self.trunk)
        store_channels_last(self.trunk)
        self.blocks.apply(init_weights)
        nn.init.trunc_normal_(self.pos_embed, std=INIT_STD)

    def pretrained_modules(self) -> list[nn.Module]:
        """The trunk."""
        return [self.trunk]

    def first_modules(self, count: int) -> list[nn.Module]:
        """The first convolution, then blocks of the trunk and, beyond it, global-filter blocks with their entry."""
        entry = [self.proj] if count > self.kept else []
        return [self.trunk.stem, *self.trunk.blocks[:count], *entry, *self.blocks[: max(0, count - self.kept)]]

    def stem(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, S, S] → [B, 32, S / 2, S / 2]."""
        features: Tensor = self.trunk.stem(images.contiguous(memory_format=torch.channels_last))
        return features

    def block(self, index: int, features: Tensor) -> Tensor:
        """A trunk block on a map [B, C, H, W], or a global-filter block on tokens [B, T, D]."""
        if index < self.kept:
            mapped: Tensor = self.trunk.blocks[index](features)
            return mapped
        if index == self.kept:
            features = self.proj(features).flatten(2).transpose(1, 2) + self.pos_embed
        tokens: Tensor = self.blocks[index - self.kept](features)
        return tokens

    def seen(self, index: int, features: Tensor) -> Tensor:
        """A trunk's map as it is, or the normed tokens."""
        return features if index < self.kept else self.norm(features)
