"""Out-of-distribution images: a familiarity score from the logits, and thresholds below which the answer is "unknown".

The thresholds are conformal: images from the distribution of the calibration images are called unknown no more often
than the false-alarm rate. How often others are, nothing guarantees. Sources: Liu et al., Energy-based
out-of-distribution detection, arXiv 2010.03759 (`energy`, their negative energy at temperature 1); Hendrycks et al.,
Scaling out-of-distribution detection for real-world settings, arXiv 1911.11132 (`max-logit`); Bates et al., Testing for
outliers with conformal p-values, arXiv 2104.08279 (the guarantee). No weights and no exit thresholds may have been
chosen on the calibration images.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.uncertainty.prediction_sets import per_exit_quantiles

FamiliarityScore = Literal["energy", "max-logit"]
"""log Σ exp of all logits, or the largest logit."""

FAMILIARITY_SCORES: tuple[FamiliarityScore, ...] = ("energy", "max-logit")

NEVER_UNKNOWN = -math.inf
"""A threshold that no score lies below."""


def familiarity(logits: npt.NDArray[np.floating], score: FamiliarityScore) -> npt.NDArray[np.float64]:
    """Higher for images like the training images: logits [..., K] → [...].

    It has no unit, and each exit has its own scale: compare images that take the same exit.
    """
    wide = np.asarray(logits, np.float64)
    largest = wide.max(axis=-1)
    if score == "max-logit":
        return np.asarray(largest)
    return np.asarray(largest + np.log(np.exp(wide - largest[..., None]).sum(axis=-1)))


def unknown_thresholds(
    familiar: npt.NDArray[np.floating], exits: npt.NDArray[np.integer], num_exits: int, false_alarms: float
) -> npt.NDArray[np.float64]:
    """For each exit the ⌊(n + 1) · rate⌋-th smallest familiarity of the n images that take it.

    Args:
        familiar: familiarity of calibration images at the exit taken, [N].
        exits: the exit that each takes, 0 to G, [N].
        num_exits: G + 1.
        false_alarms: false-alarm rate: share of such images that may be called unknown at each exit, in (0, 1).

    Returns:
        [G + 1]; `NEVER_UNKNOWN` at an exit that fewer than 1 / rate − 1 images take.

    Raises:
        CalibrationError: the rate is out of range, a familiarity is not a number, or an exit does not exist.
    """
    if not 0 < false_alarms < 1:
        raise CalibrationError(f"the false-alarm rate must lie between 0 and 1, not {false_alarms:g}")
    return -per_exit_quantiles(-familiar, exits, num_exits, 1 - false_alarms)


def is_unknown(
    familiarity: npt.NDArray[np.floating], threshold: float | npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Whether each image is below the threshold; one whose familiarity is NaN is unknown.

    Args:
        familiarity: [N].
        threshold: one for all, or that of the exit of each image, [N].

    Returns:
        [N].
    """
    return np.asarray(~(familiarity >= threshold))
