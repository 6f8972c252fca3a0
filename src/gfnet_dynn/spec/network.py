"""Specification of an early-exit network: backbone, exits, input and classes; and the options that choose one.

It is stored in every checkpoint as JSON and needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from gfnet_dynn.errors import OptionError, SpecError
from gfnet_dynn.options import lenient, option
from gfnet_dynn.spec.backbone import (
    BACKBONES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    BackboneSpec,
    ExitPooling,
    Triple,
    find_backbone,
    nearest_sizes,
)

_LARGEST_INPUT = 4096  # pixels a side


class InputSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """The square RGB image that a network takes; mean and deviation of its channels on the scale 0 to 1.

    Attributes:
        size: side in pixels, padding included.
        pad: pixels of the side that are a reflected border.
        stretch: sample values that become 0 and 255, of images of more than 8 bit; None: 16 bit by the full range.
    """

    size: int
    pad: int = 0
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    stretch: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pad < self.size <= _LARGEST_INPUT:
            raise SpecError(
                f"an input of {self.size} px with {self.pad} px of padding is not valid: at most {_LARGEST_INPUT} px, "
                "and less padding than that"
            )
        if not all(value > 0 for value in self.std):
            raise SpecError(f"the standard deviations of the input must be positive, not {self.std}")
        if self.stretch is not None and not -math.inf < self.stretch[0] < self.stretch[1] < math.inf:
            raise SpecError(f"the stretch of the input must be two numbers LOW < HIGH, not {self.stretch}")


class NetSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """An early-exit network: all that is needed to build it and to name its predictions.

    Attributes:
        exit_blocks: 0-based indices of the blocks followed by an early exit, without the last block.
        classes: names in the order of the logits.
        exit_pooling: of the features at the early exits: their `mean` over all positions, as published, or
            `mean-deviation`, the mean and the standard deviation, which measures texture; `mean-deviation-all`: the
            final classifier too.
    """

    backbone: BackboneSpec
    exit_blocks: tuple[int, ...]
    input: InputSpec
    classes: tuple[str, ...]
    exit_pooling: ExitPooling = "mean"

    def __post_init__(self) -> None:
        self.backbone.grid(self.input.size)
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise SpecError(f"a network needs at least two classes with different names, not {list(self.classes)}")
        last = self.backbone.depth - 1
        ascending = tuple(sorted(set(self.exit_blocks))) == self.exit_blocks
        if not ascending or any(not 0 <= block < last for block in self.exit_blocks):
            raise SpecError(
                f"exits after blocks {list(self.exit_blocks)} are not valid: give ascending block indices from 0 to "
                f"{last - 1} (block {last} is the last and feeds the final classifier)"
            )

    @property
    def num_exits(self) -> int:
        """Number of exits, the final one included (G + 1)."""
        return len(self.exit_blocks) + 1

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold; `msgspec.convert` reads it back."""
        described: dict[str, Any] = msgspec.to_builtins(self)
        return described


def make_input(backbone: BackboneSpec, size: int, *, pad: bool) -> InputSpec:
    """The input for images of `size` px, padded to whole patches where allowed; a SpecError where they do not fit."""
    if not pad:
        backbone.grid(size)
        return InputSpec(size, 0, backbone.mean, backbone.std)
    padded = nearest_sizes(backbone, size)[1]
    return InputSpec(padded, padded - size, backbone.mean, backbone.std)


DEFAULT_MODEL = "gfnet-192x12"


def parse_exits(text: str) -> tuple[int, ...]:
    """`3,5,7` → (3, 5, 7), `none` → (); an OptionError where it is no list of whole numbers."""
    if text.strip().casefold() == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"exits are block indices such as 3,5,7,9, or none; not {text!r}") from error


@dataclass(frozen=True, kw_only=True)
@lenient
class NetworkOptions:
    """Network."""

    model: str | None = option(
        None, f"One of {', '.join(BACKBONES)}. [default: the checkpoint's, else {DEFAULT_MODEL}]"
    )
    exits: tuple[int, ...] | None = option(
        None,
        "Blocks after which exits stand, counted from 0: 3,5,7,9; none: a plain network. [default: the checkpoint's, "
        "else the model's, see `gfnet-dynn cost`]",
        parse=parse_exits,
        metavar="NUMBERS",
    )
    exit_pooling: ExitPooling | None = option(
        None,
        "What exits see of the features: their mean over all positions, or also their standard deviation; all: the "
        "final classifier sees both too. [default: the checkpoint's, else the model's]",
        rare=True,
    )

    @property
    def backbone(self) -> BackboneSpec:
        """The backbone asked for, or the default one; a SpecError where there is no model of that name."""
        return find_backbone(self.model or DEFAULT_MODEL)
