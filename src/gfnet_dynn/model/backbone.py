"""The one interface between backbones and all else: a stem and a list of blocks, each with its width and cost.

And what all of them have: stochastic depth, and multiply-accumulates (MACs), counted from shapes. Counted are the
products of convolutions, linear maps and filters, the filter's transforms included. Norms, activations, pooling and the
gate's four statistics are not: together they are below one per cent. FLOPs are twice the MACs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

_MAP_AXES = 4
_TINY = 1e-5  # its root keeps the gradient of a deviation finite where features do not vary


class Backbone(nn.Module, ABC):
    """A backbone that can be run piece by piece.

    Heads, gates, the exit rule, training and export know a backbone only through this class. What passes from one piece
    to the next is the backbone's own matter; `pool` and `pool_with_deviation` turn it into vectors for a head, with
    `widths` channels after each block. MACs are for one image.
    """

    widths: Sequence[int]
    stem_macs: int
    block_macs: Sequence[int]

    def __init__(self) -> None:
        super().__init__()
        self._statistics_kept = False
        self._frozen: tuple[nn.Module, ...] = ()

    def keep_statistics(self) -> None:
        """From now on let batch norms keep their statistics in training too.

        For weights that were trained elsewhere: the statistics of many images there beat those of small batches here.
        """
        self._statistics_kept = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As always, but that kept statistics and frozen blocks stay."""
        super().train(mode)
        if self._statistics_kept:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for module in self._frozen:
            module.eval()
        return self

    def freeze(self, count: int) -> None:
        """Keep the weights of the stem and the first `count` blocks as they are, whatever else trains; 0 frees all."""
        for module in self._frozen:
            module.requires_grad_(True)
        self._frozen = tuple(self.first_modules(count)) if count else ()
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return len(self.widths)

    def pretrained_modules(self) -> Sequence[nn.Module]:
        """The modules that ImageNet weights are offered for."""
        return ()

    @abstractmethod
    def first_modules(self, count: int) -> Sequence[nn.Module]:
        """The modules of the stem and of the first `count` blocks."""

    @abstractmethod
    def stem(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, S, S] → features."""

    @abstractmethod
    def block(self, index: int, features: Tensor) -> Tensor:
        """Features before block `index` → features after it; the batch stays on axis 0."""

    @abstractmethod
    def seen(self, index: int, features: Tensor) -> Tensor:
        """Features after block `index` → as classifiers see them: a map [B, C, H, W] or tokens [B, T, C]."""

    def pool(self, index: int, features: Tensor) -> Tensor:
        """Features after block `index` → their mean over the positions, [B, widths[index]]."""
        seen = self.seen(index, features)
        return seen.mean(dim=_positions(seen))

    def pool_with_deviation(self, index: int, features: Tensor) -> Tensor:
        """As `pool`, then the standard deviation over the positions: [B, 2 · widths[index]], in float32."""
        seen = self.seen(index, features).float()
        mean = seen.mean(dim=_positions(seen), keepdim=True)
        away = seen - mean
        variance = (away * away).mean(dim=_positions(seen))  # an engine takes thrice as long for a power
        return torch.cat([mean.flatten(1), (variance + _TINY).sqrt()], dim=1)

    def map(self, index: int, features: Tensor) -> Tensor:
        """Features after block `index` → as a map [B, C, H, W]; tokens are those of a square grid."""
        seen = self.seen(index, features)
        if seen.ndim == _MAP_AXES:
            return seen
        side = math.isqrt(seen.shape[1])
        return seen.transpose(1, 2).reshape(len(seen), seen.shape[2], side, side)


def _positions(seen: Tensor) -> tuple[int, ...]:
    return (2, 3) if seen.ndim == _MAP_AXES else (1,)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., arXiv 1603.09382): training skips the residual branch for a share of samples.

    Where several processes share a batch, `rows` is where this one's samples start in it, and how many it has: draws
    are made for the whole batch, so that they don't depend on the number of processes.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.rows: tuple[int, int] | None = None

    def forward(self, branch: Tensor) -> Tensor:
        """[B, …] → [B, …], whole samples zeroed and the others scaled up so that the mean stays."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        start, total = self.rows or (0, len(branch))
        drawn = torch.rand(total, *[1] * (branch.dim() - 1), device=branch.device)
        mask = drawn[start : start + len(branch)] < keep
        return branch * (mask / keep).to(branch.dtype)


def linear_macs(tokens: int, inputs: int, outputs: int) -> int:
    """A linear map of `inputs` to `outputs` channels, applied to each of `tokens` positions."""
    return tokens * inputs * outputs


def convolution_macs(positions: int, kernel: tuple[int, int], inputs: int, outputs: int, groups: int = 1) -> int:
    """A 2-D convolution with `positions` output positions (height × width)."""
    return positions * kernel[0] * kernel[1] * (inputs // groups) * outputs


def global_filter_macs(height: int, width: int, channels: int) -> int:
    """A global filter: forward and inverse real 2-D FFT of each channel, and one complex product for each frequency.

    D · (5 · T · log2 T + 6 · H · (W // 2 + 1)) FLOP with T = H · W, halved.
    """
    tokens = height * width
    flops = 5 * tokens * math.log2(tokens) + 6 * height * (width // 2 + 1)
    return round(channels * flops / 2)
