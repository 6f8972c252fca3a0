"""What a network is, as plain frozen values: its backbone, exits, input and classes, and the variants with a name.

The specs travel inside every checkpoint as JSON, so they know nothing of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from gfnet_dynn.errors import SpecError, nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The square RGB image that a network takes.

    Attributes:
        size: side in pixels, padding included.
        pad: pixels of each side's length that are reflected border, not image.
        mean: per channel, on the scale 0 to 1.
        std: per channel, on the scale 0 to 1.
    """

    size: int
    pad: int = 0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.pad < self.size:
            raise SpecError(f"an input of {self.size} px with {self.pad} px of padding is not possible")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise SpecError(f"mean and standard deviation need one number a channel, not {self.mean} and {self.std}")
        if not all(value > 0 for value in self.std):
            raise SpecError(f"the standard deviations of the input must be positive, not {self.std}")


@dataclass(frozen=True, slots=True)
class GFNetSpec:
    """A Global Filter Network (Rao et al., arXiv 2107.00645).

    Attributes:
        width: channels D of a token.
        depth: number of blocks L.
        patch_size: side of a patch in pixels; it must divide the input.
        mlp_ratio: hidden channels of the MLP as a multiple of `width`.
    """

    width: int
    depth: int
    patch_size: int = 16
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.patch_size, self.mlp_ratio) < 1:
            raise SpecError(f"width, depth, patch size and MLP ratio must be at least 1: {self}")

    def grid(self, size: int) -> int:
        """Tokens along one side of an input of `size` pixels.

        Raises:
            SpecError: the patch does not divide the input.
        """
        if size % self.patch_size:
            lower, upper = self.nearest_sizes(size)
            raise SpecError(
                f"an input of {size} px is no multiple of the patch of {self.patch_size} px: "
                f"use --input-size {lower} or {upper}, or --pad to pad each image to {upper} px by reflection"
            )
        return size // self.patch_size

    def nearest_sizes(self, size: int) -> tuple[int, int]:
        """The largest usable input not above `size` (at least one patch) and the smallest not below it, in pixels."""
        lower = max(1, size // self.patch_size) * self.patch_size
        return lower, -(-size // self.patch_size) * self.patch_size


BACKBONES: Mapping[str, GFNetSpec] = {
    "gfnet-ti": GFNetSpec(width=256, depth=12),
    "gfnet-xs": GFNetSpec(width=384, depth=12),
    "gfnet-s": GFNetSpec(width=384, depth=19),
    "gfnet-b": GFNetSpec(width=512, depth=19),
    "gfnet-192x12": GFNetSpec(width=192, depth=12),
    "gfnet-96x8": GFNetSpec(width=96, depth=8, patch_size=8),
}
"""The published variants, the published student (192x12) and a small one for 64-pixel images (96x8)."""


def find_backbone(name: str) -> GFNetSpec:
    """The named variant, whatever its case.

    Raises:
        SpecError: no variant has that name; the message names the nearest.
    """
    if name.casefold() not in BACKBONES:
        raise SpecError(f"unknown model '{name}': {nearest(name, BACKBONES)}")
    return BACKBONES[name.casefold()]


def default_exit_blocks(depth: int) -> tuple[int, ...]:
    """Exits after a third, a half, two thirds and five sixths of the blocks: 3, 5, 7, 9 for a depth of 12.

    Args:
        depth: number of blocks.

    Returns:
        0-based block indices, ascending, without the last block.
    """
    blocks = {round(depth * share) - 1 for share in (1 / 3, 1 / 2, 2 / 3, 5 / 6)}
    return tuple(sorted(block for block in blocks if 0 <= block < depth - 1))


@dataclass(frozen=True, slots=True)
class NetSpec:
    """An early-exit network, complete: enough to build it again and to name what it predicts.

    Attributes:
        backbone: the stem and blocks.
        exit_blocks: 0-based indices of the blocks after which a head and a gate stand, without the last block.
        input: the image it takes.
        classes: names in the order of the logits.
    """

    backbone: GFNetSpec
    exit_blocks: tuple[int, ...]
    input: InputSpec
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        self.backbone.grid(self.input.size)
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise SpecError(f"a network needs at least two classes with different names, not {list(self.classes)}")
        last = self.backbone.depth - 1
        ascending = tuple(sorted(set(self.exit_blocks))) == self.exit_blocks
        if not ascending or any(not 0 <= block < last for block in self.exit_blocks):
            raise SpecError(
                f"exits after blocks {list(self.exit_blocks)} are not possible: give ascending block indices from 0 to "
                f"{last - 1} (block {last} is the last and feeds the final classifier)"
            )

    @property
    def num_exits(self) -> int:
        """Number of ways out, the final classifier included (G + 1)."""
        return len(self.exit_blocks) + 1

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            SpecError: a field is missing, unknown or out of range.
        """
        try:
            top, image = _exactly(value, cls), _exactly(value["input"], InputSpec)
            return cls(
                backbone=GFNetSpec(**_exactly(top["backbone"], GFNetSpec)),
                exit_blocks=tuple(top["exit_blocks"]),
                input=InputSpec(image["size"], image["pad"], tuple(image["mean"]), tuple(image["std"])),
                classes=tuple(top["classes"]),
            )
        except (KeyError, TypeError) as error:
            raise SpecError(f"not a network description of this version: {error}") from error


def _exactly(value: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    names = {field.name for field in fields(kind)}
    if set(value) != names:
        raise SpecError(
            f"not a network description of this version: {', '.join(sorted(names ^ set(value)))} missing or unknown"
        )
    return value


def make_input(backbone: GFNetSpec, size: int, *, pad: bool) -> InputSpec:
    """The input for images of `size` pixels, padded to whole patches where `pad` allows it.

    Raises:
        SpecError: `size` is no multiple of the patch and `pad` is off.
    """
    if not pad:
        backbone.grid(size)
        return InputSpec(size)
    padded = backbone.nearest_sizes(size)[1]
    return replace(InputSpec(padded), pad=padded - size)
