"""The card of a model: what a person must know before using it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from gfnet_dynn.bundle.policy import Text

Share = Annotated[float, Meta(ge=0, le=1)]
Metres = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """How a policy did on the images of the card.

    Attributes:
        accuracy: top-1.
        interval: its 95% interval, low and high.
        macs_share: mean MACs as a share of the full network's.
        calibrated_on_these: the policy's thresholds were chosen on the same images, so its accuracy is no estimate for
            others.
    """

    accuracy: Share
    interval: tuple[Share, Share]
    macs_share: Share
    calibrated_on_these: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """Texts are written by the model's authors, figures are measured.

    Attributes:
        title: what it classifies.
        gsd_m: smallest and largest ground sampling distance that it is meant for, in metres per pixel.
        data: images that it learned from, with their source and terms.
        licence: of the weights.
        intended_use: what it may be relied on for.
        limits: what it must not be relied on for, and what flatters its figures.
        recipe: command that makes it.
        measured_on: the images of the figures.
        images: how many they are.
        policies: figures by the name of the policy.
        class_accuracy: accuracy of the full network on the images of each class.
        chip_m: side of the ground that an image of the training data shows, in metres; None: not stated.
    """

    title: Text
    gsd_m: tuple[Metres, Metres]
    data: Text
    licence: Text
    intended_use: Text
    limits: tuple[Text, ...]
    recipe: Text
    measured_on: Text
    images: int
    policies: Mapping[Text, PolicyFigures]
    class_accuracy: Mapping[Text, Share]
    chip_m: Metres | None = None

    def chip_side_m(self, side_px: int) -> float:
        """Metres on the ground that an input of so many pixels shows: as stated, else by the middle of `gsd_m`."""
        return self.chip_m or side_px * math.sqrt(self.gsd_m[0] * self.gsd_m[1])
