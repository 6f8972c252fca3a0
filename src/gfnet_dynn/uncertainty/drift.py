"""Test for a distribution shift: do new images, without labels, have the distribution of the calibration images?

Three things that the device computes anyway are compared: the exits taken, the confidences, and the predicted classes.
Each is tested by permutation of Pearson's statistic, which is exact at any number of images: without a shift, any
division of all images into old and new is as likely as the true one. The three tests share the significance level
(Bonferroni). Sources: Pearson 1900 (the statistic); Phipson and Smyth, Permutation p-values should never be zero, arXiv
1603.05766; Rabanser et al., Failing loudly, arXiv 1810.11953 (which shifts a classifier's outputs show).

Each comparison has the significance level as its probability of a false alarm, so daily comparisons give one sometimes.
A shift that changes none of the three is not detected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

FEWEST_IMAGES = 20
"""Old or new images, below which a comparison could hardly detect anything."""

BINS = 20
"""Of the confidence, equally wide, from 0 to 1."""

LEAST_LEVEL = 1e-4  # more draws than that needs take too long on a device
_FEWEST_DRAWS = 2_000
_DRAWS_AT_LEVEL = 60  # over the level, of which a third is each test's: so many draws are expected in its tail
_AT_ONCE = 1_000_000  # numbers drawn at a time
_MOST_IMAGES = 500_000_000  # half of what NumPy can draw from
_ROUNDING = 1e-9  # equal statistics of different tables may differ so much

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Observations:
    """What the network returned for N images."""

    exits: npt.NDArray[np.integer]  # the exit taken, 0 to G, [N]
    confidences: npt.NDArray[np.floating]  # largest probability there, 0 to 1, [N]
    classes: npt.NDArray[np.integer]  # index of the predicted class, 0 to K − 1, [N]

    def __len__(self) -> int:
        return len(self.exits)


@dataclass(frozen=True, slots=True)
class Reference:
    """Exits, confidences and predicted classes of the calibration images, as numbers of images."""

    histogram: tuple[tuple[int, ...], ...]  # at each exit and in each bin of the confidence, [G + 1, BINS]
    classes: tuple[int, ...]  # that each class is predicted for, [K]

    def __post_init__(self) -> None:
        counts = [count for row in self.histogram for count in row]
        if not self.histogram or any(len(row) != BINS for row in self.histogram):
            raise CalibrationError(f"the reference needs {BINS} numbers of images for each exit: calibrate again")
        total = sum(counts)
        if min((*counts, *self.classes)) < 0 or not 0 < total < _MOST_IMAGES or total != sum(self.classes):
            raise CalibrationError(
                f"the reference needs numbers of images, 1 to {_MOST_IMAGES} in all, as many by exit as by class: "
                "calibrate again"
            )

    @property
    def images(self) -> int:
        """Number of images, n."""
        return sum(self.classes)

    @property
    def exit_counts(self) -> tuple[int, ...]:
        """Number of images that take each exit, [G + 1]."""
        return tuple(sum(row) for row in self.histogram)


@dataclass(frozen=True, slots=True)
class ShiftTest:
    """One comparison of new images with the calibration images."""

    of: str  # `exits`, `confidences` or `classes`
    p: float  # p-value
    distance: float  # total variation: share of the images that would have to change, 0 to 1
    reference_shares: tuple[float, ...]  # of the calibration images in each exit, bin or class
    shares: tuple[float, ...]  # likewise of the new images


@dataclass(frozen=True, slots=True)
class Comparison:
    """The tests of new images against the calibration images: of exits, confidences and classes."""

    images: int
    reference_images: int
    significance_level: float
    tests: tuple[ShiftTest, ...]

    @property
    def level_each(self) -> float:
        """Significance level of one test."""
        return self.significance_level / len(self.tests)

    @property
    def shift_detected(self) -> bool:
        """Whether a test rejects that nothing has changed."""
        return min(each.p for each in self.tests) <= self.level_each


def reference_of(observed: Observations, num_exits: int, num_classes: int) -> Reference:
    """The reference for later comparisons: calibration images, by the policy that new images will be classified with.

    Raises CalibrationError: no images, or a confidence that is no probability.
    """
    histogram, classes = _count(observed, num_exits, num_classes)
    return Reference(tuple(tuple(row) for row in histogram.tolist()), tuple(classes.tolist()))


def compare(reference: Reference, observed: Observations, level: float = 0.01, seed: int = 0) -> Comparison:
    """Test whether new images have the distribution of the calibration images; the seed is of the divisions drawn.

    Raises OptionError: a significance level below `LEAST_LEVEL` or not below 1; CalibrationError: too few images, or a
    confidence that is no probability.
    """
    if not LEAST_LEVEL <= level < 1:
        raise OptionError(
            f"--significance-level must be at least {percent(LEAST_LEVEL)} and below 100%, not {percent(level)}"
        )
    old, old_classes = np.array(reference.histogram, np.int64), np.array(reference.classes, np.int64)
    new, new_classes = _count(observed, len(old), len(old_classes))
    for name, count in (("new", len(observed)), ("calibration", reference.images)):
        if not FEWEST_IMAGES <= count < _MOST_IMAGES:
            raise CalibrationError(
                f"{counted(count, f'{name} image')} cannot be compared: at least {FEWEST_IMAGES} are needed, and fewer "
                f"than {_MOST_IMAGES}"
            )
    generator, draws = np.random.default_rng(seed), max(_FEWEST_DRAWS, math.ceil(_DRAWS_AT_LEVEL / level))
    counts = {
        "exits": (old.sum(axis=1), new.sum(axis=1)),
        "confidences": (old.sum(axis=0), new.sum(axis=0)),
        "classes": (old_classes, new_classes),
    }
    tests = []
    for name, (before, now) in counts.items():
        p, then_shares, shares = _permutation_p(before, now, draws, generator), before / before.sum(), now / now.sum()
        distance = float(np.abs(then_shares - shares).sum() / 2)
        tests.append(ShiftTest(name, p, distance, tuple(then_shares.tolist()), tuple(shares.tolist())))
    return Comparison(len(observed), reference.images, level, tuple(tests))


def chi_square(pooled: Counts, new: Counts) -> npt.NDArray[np.float64]:
    """Pearson's statistic of old against new images, [...].

    `pooled` is the number of old and new images in each of C categories, [C]; `new` that of new ones, some, but not
    all, [..., C].
    """
    found = pooled > 0
    total, drawn = pooled.sum(), new.sum(axis=-1, keepdims=True)
    surplus = new[..., found] - pooled[found] * (drawn / total)
    spread = pooled[found] * (drawn / total) * (1 - drawn / total)
    return np.asarray((surplus**2 / spread).sum(axis=-1))


def _permutation_p(old: Counts, new: Counts, draws: int, generator: np.random.Generator) -> float:
    """Share of all divisions into old and new images, the true one included, that differ as much: [C], [C]."""
    pooled, extreme = old + new, 0
    limit = chi_square(pooled, new) * (1 - _ROUNDING)
    at_once = max(1, _AT_ONCE // len(pooled))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        drawn = generator.multivariate_hypergeometric(pooled, int(new.sum()), size=size)
        extreme += int(np.count_nonzero(chi_square(pooled, drawn) >= limit))
    return (1 + extreme) / (1 + draws)


def _count(observed: Observations, num_exits: int, num_classes: int) -> tuple[Counts, Counts]:
    """Number of images by exit and confidence, [G + 1, BINS], and by class, [K]."""
    exits, confidences, classes = observed.exits, observed.confidences, observed.classes
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise CalibrationError("some confidences are not numbers from 0 to 1: check the network")
    bins = np.minimum((confidences.astype(np.float64) * BINS).astype(np.intp), BINS - 1)
    cells = np.bincount(exits.astype(np.intp) * BINS + bins, minlength=num_exits * BINS)
    by_class = np.bincount(classes.astype(np.intp), minlength=num_classes)
    return np.asarray(cells.reshape(num_exits, BINS), np.int64), np.asarray(by_class, np.int64)
