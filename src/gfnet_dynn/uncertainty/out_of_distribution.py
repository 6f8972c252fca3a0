"""Is an image unlike all that the network knows? A score from its logits, and below what an alarm is raised.

The alarm is conformal: images that come as the calibration images did raise it no more often than guaranteed. How often
others raise it, nothing guarantees. Sources: Liu et al., Energy-based out-of-distribution detection, arXiv 2010.03759
(`energy`, their negative energy at temperature 1); Hendrycks et al., Scaling out-of-distribution detection for
real-world settings, arXiv 1911.11132 (`max-logit`); Bates et al., Testing for outliers with conformal p-values, arXiv
2104.08279 (the guarantee). No weights and no thresholds may have been chosen on the calibration images.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.uncertainty.prediction_sets import conformal_quantile, per_exit_quantiles

FamiliarityScore = Literal["energy", "max-logit"]
"""What stands for familiarity: log Σ exp of all logits, or the largest logit."""

FAMILIARITY_SCORES: tuple[FamiliarityScore, ...] = ("energy", "max-logit")

NO_ALARM = -math.inf
"""A threshold that no number lies below."""


def familiarity(logits: npt.NDArray[np.floating], score: FamiliarityScore) -> npt.NDArray[np.float64]:
    """How familiar each image looks, higher for what is like the training images: logits [..., K] → [...].

    It has no unit. Each exit has its own scale: compare images that leave at the same one.
    """
    wide = np.asarray(logits, np.float64)
    largest = wide.max(axis=-1)
    if score == "max-logit":
        return np.asarray(largest)
    return np.asarray(largest + np.log(np.exp(wide - largest[..., None]).sum(axis=-1)))


def alarm_threshold(familiar: npt.NDArray[np.floating], false_alarms: float) -> float:
    """The ⌊(n + 1) · false_alarms⌋-th smallest familiarity: a new one like these is below it no more often than that.

    Args:
        familiar: familiarity of n calibration images, [n].
        false_alarms: share of such images that may be called unknown, in (0, 1).

    Returns:
        A familiarity, or `NO_ALARM` where n is below 1 / false_alarms - 1.

    Raises:
        CalibrationError: the share makes no sense, or a familiarity is not a number.
    """
    _check_share(false_alarms)
    return -conformal_quantile(-familiar, 1 - false_alarms)


def alarm_thresholds(
    familiar: npt.NDArray[np.floating], exits: npt.NDArray[np.integer], num_exits: int, false_alarms: float
) -> npt.NDArray[np.float64]:
    """A threshold for each exit, from the images that leave there.

    Args:
        familiar: familiarity of n calibration images at the exit taken, [n].
        exits: where each leaves, 0 to G, [n].
        num_exits: G + 1.
        false_alarms: share of such images that may be called unknown at each exit, in (0, 1).

    Returns:
        [G + 1]; `NO_ALARM` at an exit that too few leave.

    Raises:
        CalibrationError: the share makes no sense, a familiarity is not a number, or an exit does not exist.
    """
    _check_share(false_alarms)
    return -per_exit_quantiles(-familiar, exits, num_exits, 1 - false_alarms)


def is_unknown(
    familiarity: npt.NDArray[np.floating], threshold: float | npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Whether each image lies below the threshold; what is not a number is unknown at any.

    Args:
        familiarity: [N].
        threshold: one for all, or one for each image, [N]: that of its exit.

    Returns:
        [N].
    """
    return np.asarray(~(familiarity >= threshold))


def _check_share(false_alarms: float) -> None:
    if not 0 < false_alarms < 1:
        raise CalibrationError(
            f"the share of false alarms must lie between 0 and 1, as 0.01 does, not {false_alarms:g}"
        )
