"""Specifications of backbones, and the variants with a name.

A backbone is a stem and a list of blocks; an exit may follow any block. A specification has the number of blocks and
the inputs that fit; only `gfnet_dynn.model` builds the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

from msgspec import Struct

from gfnet_dynn.errors import SpecError, nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Triple = tuple[float, float, float]
ExitPooling = Literal["mean", "mean-deviation", "mean-deviation-all"]

# Far beyond any published network: larger values are of a damaged file, and would fill the memory.
_MOST_BLOCKS, _WIDEST = 256, 16_384


def _require_size(width: int, depth: int, mlp_ratio: int) -> None:
    if not (1 <= width <= _WIDEST and 1 <= depth <= _MOST_BLOCKS and 1 <= mlp_ratio <= _MOST_BLOCKS):
        raise SpecError(
            f"width, depth and MLP ratio must be at least 1 and at most {_WIDEST}, {_MOST_BLOCKS} and {_MOST_BLOCKS}, "
            f"not {width}, {depth} and {mlp_ratio}"
        )


class GFNetSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gfnet"):
    """A Global Filter Network (Rao et al., arXiv 2107.00645).

    Attributes:
        depth: number of blocks L.
        patch_size: side of a patch in pixels; it must divide the input.
        mlp_ratio: hidden channels of the MLP as a multiple of `width`.
        stem: `patch`, one strided convolution as published, or `convolutions`, overlapping ones of 3 × 3, each of
            which halves the side, and a linear one, which needs fewer training images.
    """

    kind: ClassVar[str] = "gfnet"
    mean: ClassVar[Triple] = IMAGENET_MEAN
    std: ClassVar[Triple] = IMAGENET_STD
    exit_pooling: ClassVar[ExitPooling] = "mean"  # as published
    trunk: ClassVar[None] = None

    width: int
    depth: int
    patch_size: int = 16
    mlp_ratio: int = 4
    stem: Literal["patch", "convolutions"] = "patch"

    def __post_init__(self) -> None:
        _require_size(self.width, self.depth, self.mlp_ratio)
        if self.patch_size < 1:
            raise SpecError(f"the patch size must be at least 1, not {self.patch_size}")
        if self.stem == "convolutions" and (self.patch_size not in (2, 4, 8, 16) or 2 * self.width % self.patch_size):
            raise SpecError(
                f"a stem of convolutions needs a patch of 2, 4, 8 or 16 px and a width that half of it divides: {self}"
            )

    @property
    def default_exits(self) -> tuple[int, ...]:
        """Exits after a third, a half, two thirds and five sixths of the blocks: 3, 5, 7, 9 for a depth of 12."""
        blocks = {round(self.depth * share) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 5 / 6)}
        return tuple(sorted(block for block in blocks if 0 <= block < self.depth - 1))

    @property
    def stride(self) -> int:
        """Side of a token in pixels of the input, which must be a multiple."""
        return self.patch_size

    def grid(self, size: int) -> int:
        """Tokens along one side of an input of `size` pixels; a SpecError where the patch does not divide it."""
        if size % self.patch_size:
            lower, upper = nearest_sizes(self, size)
            raise SpecError(
                f"an input of {size} px is not a multiple of the patch of {self.patch_size} px: "
                f"use --input-size {lower} or {upper}, or --pad to pad each image to {upper} px by reflection"
            )
        return size // self.patch_size


class EfficientNetLiteSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="efficientnet-lite"):
    """An EfficientNet-Lite: EfficientNet for small devices, with ReLU6 and without squeeze-and-excitation.

    Source: Tan and Le, arXiv 1905.11946, and the authors' Lite variants of 2020. With the variant 0, 1 or 2 its width,
    depth and training resolution increase.
    """

    kind: ClassVar[str] = "efficientnet-lite"
    mean: ClassVar[Triple] = (127 / 255,) * 3  # as its ImageNet weights were trained: (x - 127) / 128
    std: ClassVar[Triple] = (128 / 255,) * 3
    exit_pooling: ClassVar[ExitPooling] = "mean-deviation"
    stride: ClassVar[int] = 1  # any input fits: convolutions pad

    variant: int = 0

    def __post_init__(self) -> None:
        if self.variant not in (0, 1, 2):
            raise SpecError(f"the variant of EfficientNet-Lite is 0, 1 or 2, not {self.variant!r}")

    @property
    def trunk(self) -> EfficientNetLiteSpec:
        """The part that ImageNet weights are offered for."""
        return self

    @property
    def resolution(self) -> int:
        """Side of the images that its ImageNet weights were trained on, in pixels."""
        return (224, 240, 260)[self.variant]

    @property
    def blocks(self) -> tuple[LiteBlock, ...]:
        """The inverted residual blocks in order."""
        return _lite_blocks(*((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))[self.variant])

    @property
    def depth(self) -> int:
        """Number of blocks: 16, 21 or 21."""
        return len(self.blocks)

    @property
    def default_exits(self) -> tuple[int, ...]:
        """Blocks at which the width or stride changes."""
        return (4, 7, 10) if self.variant == 0 else (6, 10, 14)

    def grid(self, size: int) -> int:
        """Positions along one side of the last feature map, for an input of `size` pixels."""
        for _ in range(5):
            size = -(-size // 2)
        return size


class LiteBlock(NamedTuple):
    """An inverted residual block: expand `inputs`, depthwise convolution of `kernel` and `stride`, project."""

    inputs: int
    outputs: int
    expansion: int
    kernel: int
    stride: int


# Repeats, kernel, stride, expansion, channels out: the groups of EfficientNet-B0.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LITE_STEM_WIDTH = 32
LITE_HEAD_WIDTH = 1280


def _lite_blocks(width_factor: float, depth_factor: float) -> tuple[LiteBlock, ...]:
    blocks: list[LiteBlock] = []
    inputs = LITE_STEM_WIDTH  # neither stem and head nor the depth of the first and last group are scaled
    for index, (repeats, kernel, stride, expansion, channels) in enumerate(_GROUPS):
        outputs = _round_channels(channels * width_factor)
        inner = 0 < index < len(_GROUPS) - 1
        for repeat in range(-int(-repeats * depth_factor // 1) if inner else repeats):
            blocks.append(LiteBlock(inputs, outputs, expansion, kernel, stride if repeat == 0 else 1))
            inputs = outputs
    return tuple(blocks)


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class HybridSpec(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hybrid"):
    """The first blocks of a convolutional trunk, up to the block `cut` (0-based), then global-filter blocks.

    Of these, `width` is the channels D, and `mlp_ratio` the hidden channels of the MLP as a multiple of it.
    """

    kind: ClassVar[str] = "hybrid"
    mean: ClassVar[Triple] = EfficientNetLiteSpec.mean
    std: ClassVar[Triple] = EfficientNetLiteSpec.std
    exit_pooling: ClassVar[ExitPooling] = "mean-deviation"
    stride: ClassVar[int] = 1  # any input fits: convolutions pad

    trunk: EfficientNetLiteSpec = EfficientNetLiteSpec()
    cut: int = 10
    width: int = 192
    depth_after: int = 2
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        _require_size(self.width, self.depth_after, self.mlp_ratio)
        if not 0 <= self.cut < self.trunk.depth:
            raise SpecError(f"the cut of the trunk must be a block from 0 to {self.trunk.depth - 1}, not {self.cut}")

    @property
    def depth(self) -> int:
        """Number of blocks of both kinds."""
        return self.cut + 1 + self.depth_after

    @property
    def default_exits(self) -> tuple[int, ...]:
        """Those within the trunk, its end, and every second global-filter block but the last."""
        within = {block for block in self.trunk.default_exits if block <= self.cut}
        return tuple(sorted({*within, *range(self.cut, self.depth - 1, 2)}))

    def grid(self, size: int) -> int:
        """Tokens along one side, for an input of `size` pixels."""
        size = -(-size // 2)
        for block in self.trunk.blocks[: self.cut + 1]:
            size = -(-size // block.stride)
        return size


BackboneSpec = GFNetSpec | EfficientNetLiteSpec | HybridSpec

BACKBONES: Mapping[str, BackboneSpec] = {
    "gfnet-ti": GFNetSpec(width=256, depth=12),
    "gfnet-xs": GFNetSpec(width=384, depth=12),
    "gfnet-s": GFNetSpec(width=384, depth=19),
    "gfnet-b": GFNetSpec(width=512, depth=19),
    "gfnet-192x12": GFNetSpec(width=192, depth=12),
    "gfnet-192x12-conv": GFNetSpec(width=192, depth=12, stem="convolutions"),
    "gfnet-96x8": GFNetSpec(width=96, depth=8, patch_size=8),
    "gfnet-96x8-conv": GFNetSpec(width=96, depth=8, patch_size=8, stem="convolutions"),
    "gfnet-hybrid": HybridSpec(),
    "efficientnet-lite0": EfficientNetLiteSpec(0),
    "efficientnet-lite1": EfficientNetLiteSpec(1),
    "efficientnet-lite2": EfficientNetLiteSpec(2),
}
"""The published GFNets, the published student (192x12), the same with convolutions as stem, a small one for 64-pixel
images (96x8) with either stem, a hybrid, and plain convolutional trunks."""


def find_backbone(name: str) -> BackboneSpec:
    """The named variant, whatever its case; a SpecError names the nearest where there is none of that name."""
    if name.casefold() not in BACKBONES:
        raise SpecError(f"unknown model '{name}': {nearest(name, BACKBONES)}")
    return BACKBONES[name.casefold()]


def backbone_name(backbone: BackboneSpec) -> str:
    """The name of a named variant, otherwise the kind."""
    return next((name for name, named in BACKBONES.items() if named == backbone), f"custom {backbone.kind}")


def nearest_sizes(backbone: BackboneSpec, size: int) -> tuple[int, int]:
    """The largest usable input not above `size` (at least one patch) and the smallest not below it, in pixels."""
    stride = backbone.stride
    return max(1, size // stride) * stride, -(-size // stride) * stride
