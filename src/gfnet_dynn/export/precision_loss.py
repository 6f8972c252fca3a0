"""Whether a coarser precision answers well enough to be offered: its loss of accuracy, and what chance alone can do."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits.sweep import OperatingPoint

LOSS = 0.005
"""Accuracy that int8 may lose on the images that it is judged by."""


def too_much_lost(
    fp32: Mapping[str, OperatingPoint], int8: Mapping[str, OperatingPoint], labels: npt.NDArray[np.int64]
) -> str | None:
    """Why int8 is left out, or None where its answers are good enough by every policy.

    Images near a tie turn either way, and few images make much of it: beyond `LOSS` int8 may lose one standard error
    of the difference, which is the root of the number of images that one of the two has right and the other wrong.

    Args:
        fp32: by policy.
        int8: the same policies on the same images.
        labels: true classes, [N].
    """
    for name, exact in fp32.items():
        before, after = exact.predictions == labels, int8[name].predictions == labels
        lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
        if lost - gained > LOSS * len(labels) + math.sqrt(lost + gained):
            return (
                f"int8 is left out: by the policy {name} it is right on {after.sum()} images, where fp32 is on "
                f"{before.sum()}, of {len(labels)}"
            )
    return None
