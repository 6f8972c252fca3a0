"""The names of the augmentation policies; apart from what carries them out, which needs torch."""

from __future__ import annotations

from typing import Literal

Augmentation = Literal["none", "overhead", "randaugment"]
"""none · overhead: the eight symmetries of the square, crop, colour · randaugment: overhead and RandAugment."""

AUGMENTATIONS: tuple[Augmentation, ...] = ("none", "overhead", "randaugment")
