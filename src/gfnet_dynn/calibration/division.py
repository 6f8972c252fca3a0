"""Divides the calibration images: no image serves two purposes of which one would bias the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.score_fitting import SCALED

Rows = npt.NDArray[np.intp]

_FIT_SHARE = _LATER_SHARE = 0.3


@dataclass(frozen=True)
class Parts:
    """The division of the images, as rows of the outputs.

    Attributes:
        fit: score and path are fitted on these.
        test: thresholds are found and tested on these.
        later: prediction sets and the rule for unknown images are made from these.
    """

    fit: Rows
    test: Rows
    later: Rows


def divide(images: int, request: CalibrationRequest, *, labelled: bool = True) -> Parts:
    """A random division, the same for the same number and seed; without labels no score is fitted."""
    fits = request.per_exit or (request.score in SCALED and labelled)
    later = request.coverage is not None or request.false_alarms is not None
    shuffled = np.random.default_rng(request.seed).permutation(images).astype(np.intp)
    fit_end = round(_FIT_SHARE * images) if fits else 0
    later_start = images - (round(_LATER_SHARE * images) if later else 0)
    return Parts(np.sort(shuffled[:fit_end]), np.sort(shuffled[fit_end:later_start]), np.sort(shuffled[later_start:]))
