"""Random numbers as a function of where training stands.

Every step seeds the generators anew from (seed, stage, epoch, step). So a resumed run draws what an unbroken one would
have drawn, and no generator's state needs saving.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np
import torch


def derived_seed(*parts: int | str) -> int:
    """A 32-bit seed that depends on all parts, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


def seed_step(seed: int, stage: str, epoch: int, step: int) -> None:
    """Seed Python, NumPy and torch on all devices for one step; augmentation libraries draw from any of them."""
    value = derived_seed(seed, stage, epoch, step)
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 # the global generator is what other libraries use
    torch.manual_seed(value)


def epoch_order(seed: int, stage: str, epoch: int, count: int, unlabelled: int = 0) -> Sequence[int]:
    """The order in which an epoch visits images.

    The `count` images with labels, of indices 0 to `count` - 1, are all visited. Of the `unlabelled` ones that follow,
    at most as many are, drawn by the epoch.
    """
    generator = np.random.default_rng(derived_seed(seed, stage, epoch))
    if not unlabelled:
        plain: list[int] = generator.permutation(count).tolist()
        return plain
    drawn = count + generator.choice(unlabelled, min(count, unlabelled), replace=False)
    mixed: list[int] = generator.permutation(np.concatenate((np.arange(count), drawn))).tolist()
    return mixed
