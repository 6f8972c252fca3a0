"""Options that choose a network."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import lenient, option
from gfnet_dynn.spec.backbone import BACKBONES, BackboneSpec, ExitPooling, find_backbone

DEFAULT_MODEL = "gfnet-192x12"


def parse_exits(text: str) -> tuple[int, ...]:
    """`3,5,7` → (3, 5, 7), `none` → ().

    Raises:
        OptionError: not a list of whole numbers.
    """
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
        "What exits see of the features: their mean over all positions, or also their standard deviation. [default: "
        "the checkpoint's, else the model's]",
        rare=True,
    )

    @property
    def backbone(self) -> BackboneSpec:
        """The backbone asked for, or the default one.

        Raises:
            SpecError: there is no model of that name.
        """
        return find_backbone(self.model or DEFAULT_MODEL)
