"""Do new images, without labels, still come as the calibration images did? All guarantees stand on that premise.

Two things that the device sees anyway are compared: at which exits images leave, and how confident the network is. Each
is tested by permutation, which is exact at any number of images: if nothing has changed, any division of all images
into old and new is as likely as the true one. The two share the level (Bonferroni). Sources: Pearson 1900 (the
statistic); Phipson and Smyth, Permutation p-values should never be zero, arXiv 1603.05766; Rabanser et al., Failing
loudly, arXiv 1810.11953 (what the outputs of a classifier show of a shift).

A false alarm has its probability at each comparison: who compares every day must expect one some day. A change that
leaves exits and confidences as they were is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.wording import counted

FEWEST_IMAGES = 20
"""Old or new images, below which a comparison could hardly see anything."""

BINS = 20
"""Of the confidence, equally wide, from 0 to 1."""

_FEWEST_DRAWS = 2_000
_DRAWS_AT_LEVEL = 20  # expected to lie beyond what alpha rejects, so that the p-value is no matter of luck
_LEAST_ALPHA = 1e-4  # more draws than that asks for do not fit on a device
_MOST_IMAGES = 500_000_000  # half of what NumPy can draw from
_ROUNDING = 1e-9  # equal statistics of different tables may differ so much

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """How the calibration images left, and how confidently.

    Attributes:
        histogram: number of images at each exit and of each confidence, [G + 1, BINS].
    """

    histogram: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        counts = [count for row in self.histogram for count in row]
        if not self.histogram or any(len(row) != BINS for row in self.histogram):
            raise CalibrationError(f"the reference needs {BINS} numbers of images for each exit: make it anew")
        if min(counts) < 0 or not 0 < sum(counts) < _MOST_IMAGES:
            raise CalibrationError(f"the reference needs numbers of images, 1 to {_MOST_IMAGES} in all: make it anew")

    @property
    def images(self) -> int:
        """Number of images, n."""
        return sum(self.exit_counts)

    @property
    def exit_counts(self) -> tuple[int, ...]:
        """Number of images that leave at each exit, [G + 1]."""
        return tuple(sum(row) for row in self.histogram)


@dataclass(frozen=True, slots=True)
class Drift:
    """What a comparison of new images with the calibration images found.

    Attributes:
        images: number of new images.
        reference_images: number of calibration images.
        alpha: probability with which the premise may be rejected where it holds.
        shares_then: part of the calibration images that left at each exit, [G + 1].
        shares_now: part of the new images, [G + 1].
        exits_p: p-value of the shares.
        confidences_p: p-value of the confidences.
        exits_distance: total variation between the shares: the part of the images that would have to leave elsewhere.
        confidences_distance: total variation between the confidences, in bins.
    """

    images: int
    reference_images: int
    alpha: float
    shares_then: tuple[float, ...]
    shares_now: tuple[float, ...]
    exits_p: float
    confidences_p: float
    exits_distance: float
    confidences_distance: float

    @property
    def rejected(self) -> bool:
        """Whether new images do not come as the calibration images did."""
        return min(self.exits_p, self.confidences_p) <= self.alpha / 2

    def __str__(self) -> str:
        new, old = counted(self.images, "new image"), counted(self.reference_images, "calibration image")
        verdict = (
            f"{new} do not come as the {old} did: what was guaranteed on those need not hold any more"
            if self.rejected
            else f"{new} show no sign of coming otherwise than the {old} did"
        )
        return (
            f"{verdict} (level {self.alpha:g}). "
            f"Exits: {_percent(self.shares_then)} then, {_percent(self.shares_now)} now, "
            f"total variation {self.exits_distance:.3f}, p = {self.exits_p:.2g}. "
            f"Confidences: total variation {self.confidences_distance:.3f}, p = {self.confidences_p:.2g}."
        )


def reference_of(exits: npt.NDArray[np.integer], confidences: npt.NDArray[np.floating], num_exits: int) -> Reference:
    """What to compare new images with later.

    Args:
        exits: where each calibration image leaves, 0 to G, [N]; by the policy with which new images will.
        confidences: largest probability at that exit, [N].
        num_exits: G + 1.

    Raises:
        CalibrationError: no images, an exit that does not exist, or a confidence that is no probability.
    """
    return Reference(tuple(tuple(row) for row in _histogram(exits, confidences, num_exits).tolist()))


def compare(
    reference: Reference,
    exits: npt.NDArray[np.integer],
    confidences: npt.NDArray[np.floating],
    alpha: float = 0.01,
    seed: int = 0,
) -> Drift:
    """Test whether new images come as the calibration images did.

    Args:
        reference: of the calibration images.
        exits: where each new image leaves, 0 to G, [N].
        confidences: largest probability at that exit, [N].
        alpha: probability with which the premise may be rejected where it holds.
        seed: of the divisions drawn.

    Raises:
        CalibrationError: too few images, a level that makes no sense, an exit that does not exist, or a confidence that
            is no probability.
    """
    if not _LEAST_ALPHA <= alpha < 1:
        raise CalibrationError(f"the level must lie between {_LEAST_ALPHA:g} and 1, as 0.01 does, not {alpha:g}")
    old = np.array(reference.histogram, np.int64)
    new = _histogram(exits, confidences, len(old))
    for name, count in (("new", len(exits)), ("calibration", reference.images)):
        if not FEWEST_IMAGES <= count < _MOST_IMAGES:
            raise CalibrationError(
                f"{counted(count, f'{name} image')} cannot be compared: give at least {FEWEST_IMAGES}, and fewer than "
                f"{_MOST_IMAGES}"
            )
    generator, draws = np.random.default_rng(seed), max(_FEWEST_DRAWS, math.ceil(_DRAWS_AT_LEVEL / alpha))
    left_then, left_now = old.sum(axis=1), new.sum(axis=1)
    sure_then, sure_now = old.sum(axis=0), new.sum(axis=0)
    return Drift(
        images=len(exits),
        reference_images=reference.images,
        alpha=alpha,
        shares_then=tuple((left_then / left_then.sum()).tolist()),
        shares_now=tuple((left_now / left_now.sum()).tolist()),
        exits_p=_permutation_p(left_then, left_now, draws, generator),
        confidences_p=_permutation_p(sure_then, sure_now, draws, generator),
        exits_distance=_total_variation(left_then, left_now),
        confidences_distance=_total_variation(sure_then, sure_now),
    )


def chi_square(pooled: Counts, new: Counts) -> npt.NDArray[np.float64]:
    """Pearson's statistic of old against new images: how far the new ones are from their part of all.

    Args:
        pooled: number of old and new images of each of C kinds, [C].
        new: number of new ones among them, [..., C]; some, but not all.

    Returns:
        [...].
    """
    found = pooled > 0
    total, drawn = pooled.sum(), new.sum(axis=-1, keepdims=True)
    surplus = new[..., found] - pooled[found] * (drawn / total)
    spread = pooled[found] * (drawn / total) * (1 - drawn / total)
    return np.asarray((surplus**2 / spread).sum(axis=-1))


def _permutation_p(old: Counts, new: Counts, draws: int, generator: np.random.Generator) -> float:
    """Part of all divisions into old and new images, the true one among them, that are as uneven as it: [C], [C]."""
    pooled = old + new
    drawn = generator.multivariate_hypergeometric(pooled, int(new.sum()), size=draws)
    limit = chi_square(pooled, new) * (1 - _ROUNDING)
    return float((1 + np.count_nonzero(chi_square(pooled, drawn) >= limit)) / (1 + draws))


def _total_variation(old: Counts, new: Counts) -> float:
    return float(np.abs(old / old.sum() - new / new.sum()).sum() / 2)


def _histogram(exits: npt.NDArray[np.integer], confidences: npt.NDArray[np.floating], num_exits: int) -> Counts:
    """Number of images at each exit and of each confidence, [G + 1, BINS]."""
    if exits.shape != confidences.shape or not ((exits >= 0) & (exits < num_exits)).all():
        raise CalibrationError(
            f"{len(confidences)} images need an exit each, from 0 to {num_exits - 1}: give those of the same "
            "bundle and policy"
        )
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise CalibrationError("some confidences are not numbers from 0 to 1: check the network, give probabilities")
    levels = np.minimum((confidences.astype(np.float64) * BINS).astype(np.intp), BINS - 1)
    cells = np.bincount(exits.astype(np.intp) * BINS + levels, minlength=num_exits * BINS)
    return np.asarray(cells.reshape(num_exits, BINS), np.int64)


def _percent(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares) + " %"
