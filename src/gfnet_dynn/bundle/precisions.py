"""Which precisions `auto` may take: those shown not to lose more than half a point of accuracy against fp32."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gfnet_dynn.uncertainty.intervals import PairedDifference, normal_quantile, tango_score
from gfnet_dynn.units import points

REFERENCE = "fp32"
ALLOWED_LOSS = 0.005
"""Accuracy that `auto` may lose against fp32, at the lower end of the confidence interval."""


def auto_precisions(differences: Mapping[str, Mapping[str, PairedDifference]]) -> tuple[str, ...]:
    """fp32, and each precision that by no policy may lose more than `ALLOWED_LOSS`.

    The differences are of its accuracy against that of fp32, by precision and policy.
    """
    return (REFERENCE, *(name for name, each in differences.items() if _worst(each).low >= -ALLOWED_LOSS))


def _worst(differences: Mapping[str, PairedDifference]) -> PairedDifference:
    return min(differences.values(), key=lambda each: each.low)


def images_needed(difference: PairedDifference) -> int | None:
    """About how many images would show that no more than `ALLOWED_LOSS` is lost, if they differ as often as these.

    None where the difference itself is a larger loss, which no number of images can change.
    """
    if difference.difference <= -ALLOWED_LOSS:
        return None
    # The score grows with the root of the number of images; the interval ends where it equals the quantile.
    found = tango_score(difference.gained, difference.lost, difference.n, -ALLOWED_LOSS)
    return math.ceil(difference.n * (normal_quantile(difference.confidence) / found) ** 2)


def describe(precision: str, differences: Mapping[str, PairedDifference]) -> str:
    """Whether `auto` may take a precision, and why."""
    worst = _worst(differences)
    found = f"its accuracy may lie {points(worst.low)} from that of {REFERENCE} (95% interval, {worst.n} images)"
    if worst.low >= -ALLOWED_LOSS:
        return f"{precision}: `auto` takes it where it is faster; at worst {found}."
    needed = images_needed(worst)
    why = f"about {needed} images could show less" if needed else "the loss on these images is larger already"
    return (
        f"{precision}: `auto` does not take it. At worst {found}, and {points(-ALLOWED_LOSS)} is allowed; {why}. "
        f"`--precision {precision}` still selects it."
    )
