"""Multiply-accumulates (MACs), counted from shapes.

Counted are the products of convolutions, linear maps and filters, the filter's transforms included. Norms, activations,
pooling and the gate's four statistics are not: together they are below one per cent. FLOPs are twice the MACs.
"""

from __future__ import annotations

import math


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
