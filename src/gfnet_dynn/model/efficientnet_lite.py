"""EfficientNet-Lite as a backbone, whole or as the trunk before global-filter blocks.

Source: Tan and Le, arXiv 1905.11946; the authors' Lite variants of 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.model.backbone import Backbone, DropPath, convolution_macs
from gfnet_dynn.model.gfnet import INIT_STD, LAYER_NORM_EPS, Block, block_macs, init_weights
from gfnet_dynn.spec.backbone import (
    LITE_HEAD_WIDTH,
    LITE_STEM_WIDTH,
    EfficientNetLiteSpec,
    GFNetSpec,
    HybridSpec,
    LiteBlock,
)

_BATCH_NORM_EPS = 1e-3
_BATCH_NORM_MOMENTUM = 0.01


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm, and ReLU6 where asked; pads as TensorFlow does: what is odd goes last."""

    def __init__(  # the shape of a convolution
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM)
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] → [B, outputs, ⌈H / stride⌉, ⌈W / stride⌉]."""
        features = self.padding(features)
        features = self.norm(self.conv(features)) if self.norm.training else self._folded(features)
        return functional.relu6(features) if self.activation else features

    def _folded(self, features: Tensor) -> Tensor:
        """Convolution and norm with fixed statistics as one convolution: a pass over the map less, forward and back."""
        norm, conv = self.norm, self.conv
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = conv.weight * scale.view(-1, 1, 1, 1)
        bias = norm.bias - norm.running_mean * scale
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return functional.conv2d(features, weight, bias, conv.stride, groups=conv.groups)
        # On a CPU in bfloat16, a depthwise convolution goes back three times slower than in float32, and a pointwise
        # one is fastest as the product that it is.
        if conv.kernel_size == (1, 1):
            return functional.linear(features.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(features.float(), weight, bias, conv.stride, groups=conv.groups)

    def padding(self, features: Tensor) -> Tensor:
        """Zeros around a map, so that ⌈side / stride⌉ positions remain after the convolution."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        height, width = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in features.shape[2:])
        if not height and not width:
            return features
        return functional.pad(features, (width // 2, width - width // 2, height // 2, height - height // 2))

    def macs(self, side: int) -> int:
        """Multiply-accumulates for an input of `side` × `side`."""
        conv = self.conv
        positions = (-(-side // conv.stride[0])) ** 2
        kernel = (conv.kernel_size[0], conv.kernel_size[1])
        return convolution_macs(positions, kernel, conv.in_channels, conv.out_channels, conv.groups)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; with a residual where shapes allow it."""

    def __init__(self, block: LiteBlock, drop_path: float) -> None:
        super().__init__()
        hidden = block.inputs * block.expansion
        self.expand = ConvNorm(block.inputs, hidden, 1) if block.expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, block.kernel, block.stride, groups=hidden)
        self.project = ConvNorm(hidden, block.outputs, 1, activation=False)
        self.residual = block.stride == 1 and block.inputs == block.outputs
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, ⌈H / stride⌉, ⌈W / stride⌉]."""
        branch = features if self.expand is None else self.expand(features)
        branch = self.project(self.depthwise(branch))
        mixed: Tensor = features + self.drop_path(branch) if self.residual else branch
        return mixed

    def macs(self, side: int) -> int:
        """Multiply-accumulates for an input of `side` × `side`."""
        after = -(-side // self.depthwise.conv.stride[0])
        expansion = 0 if self.expand is None else self.expand.macs(side)
        return expansion + self.depthwise.macs(side) + self.project.macs(after)


class LiteTrunk(nn.Module):
    """The stem and the first blocks of an EfficientNet-Lite, with what they cost; `side`: positions of the last map."""

    def __init__(self, spec: EfficientNetLiteSpec, image_size: int, drop_path: float, kept: int | None = None) -> None:
        super().__init__()
        blocks = spec.blocks[:kept]
        self.stem = ConvNorm(3, LITE_STEM_WIDTH, 3, 2)
        self.blocks = nn.ModuleList()
        self.widths = tuple(block.outputs for block in blocks)
        self.stem_macs = self.stem.macs(image_size)
        self.block_macs: tuple[int, ...] = ()
        self.side = -(-image_size // 2)
        for index, block in enumerate(blocks):
            made = InvertedResidual(block, drop_path * index / len(spec.blocks))
            self.blocks.append(made)
            self.block_macs += (made.macs(self.side),)
            self.side = -(-self.side // block.stride)


class EfficientNetLite(Backbone):
    """Stem and blocks; the last one ends with the convolution to 1,280 channels."""

    def __init__(self, spec: EfficientNetLiteSpec, image_size: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.trunk = LiteTrunk(spec, image_size, drop_path)
        self.last = ConvNorm(self.trunk.widths[-1], LITE_HEAD_WIDTH, 1)
        self.widths = (*self.trunk.widths[:-1], LITE_HEAD_WIDTH)
        self.stem_macs = self.trunk.stem_macs
        *earlier, end = self.trunk.block_macs
        self.block_macs = (*earlier, end + self.last.macs(self.trunk.side))
        _init_convolutions(self)

    def pretrained_modules(self) -> list[nn.Module]:
        """All."""
        return [self.trunk, self.last]

    def first_modules(self, count: int) -> list[nn.Module]:
        """The first convolution and the first blocks; with the last block the last convolution too."""
        return [self.trunk.stem, *self.trunk.blocks[:count], *([self.last] if count >= self.num_blocks else [])]

    def stem(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, S, S] → [B, 32, S / 2, S / 2]."""
        features: Tensor = self.trunk.stem(images.contiguous(memory_format=torch.channels_last))
        return features

    def block(self, index: int, features: Tensor) -> Tensor:
        """Block `index`; after the last also the final convolution."""
        features = self.trunk.blocks[index](features)
        return self.last(features) if index == self.num_blocks - 1 else features

    def seen(self, index: int, features: Tensor) -> Tensor:
        """As it is: [B, C, H, W]."""
        return features


def _init_convolutions(module: nn.Module) -> None:
    """Fresh weights for convolutions: normal with the variance of what a position feeds.

    They are stored channels last: on a CPU, training is then twice as fast.
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out")
            each.weight.data = each.weight.data.contiguous(memory_format=torch.channels_last)


class Hybrid(Backbone):
    """Trunk blocks, then global-filter blocks; a linear map and a position stand before the first of these."""

    def __init__(self, spec: HybridSpec, image_size: int, drop_path: float = 0.0) -> None:
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
        _init_convolutions(self.trunk)
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
