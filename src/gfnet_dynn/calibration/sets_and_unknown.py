"""Prediction sets and the rule for unknown images, made after the thresholds, from images set apart for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.calibration.division import Rows
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.exits.rule import NEVER, first_exit
from gfnet_dynn.exits.scores import Fitted
from gfnet_dynn.uncertainty.out_of_distribution import FamiliarityScore, familiarity, unknown_thresholds
from gfnet_dynn.uncertainty.prediction_sets import SetScore, images_needed, set_quantiles
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

_SET_SCORE: SetScore = "least-ambiguous"
_FAMILIARITY: FamiliarityScore = "energy"


def with_sets_and_unknown(
    policy: Policy, precisions: Sequence[ExitArrays], request: CalibrationRequest, given: int
) -> Policy:
    """Prediction sets and the rule for unknown images, valid in every precision: the most cautious of their values."""
    exits = [first_exit(each.gates, policy.thresholds) for each in precisions]
    num_exits = precisions[0].logits.shape[1]
    if (coverage := request.coverage) is not None:
        _require_enough("--coverage", coverage, coverage, exits, policy, given)
        probabilities = [probabilities_at(*each, policy.fitted) for each in zip(precisions, exits, strict=True)]
        quantiles = [
            set_quantiles(probability, each.labels, taken, num_exits, coverage, _SET_SCORE)
            for probability, each, taken in zip(probabilities, precisions, exits, strict=True)
        ]
        sets = PredictionSets(_SET_SCORE, tuple(map(float, np.max(quantiles, axis=0))), coverage)
        policy = replace(policy, prediction_sets=sets)
    if (rate := request.false_alarms) is not None:
        _require_enough("--false-alarms", rate, 1 - rate, exits, policy, given)
        thresholds = [
            unknown_thresholds(
                familiarity(each.logits[np.arange(len(taken)), taken], _FAMILIARITY), taken, num_exits, rate
            )
            for each, taken in zip(precisions, exits, strict=True)
        ]
        rule = UnknownRule(_FAMILIARITY, tuple(map(float, np.min(thresholds, axis=0))), rate)
        policy = replace(policy, unknown_rule=rule)
    return policy


def _require_enough(
    option: str, asked: float, coverage: float, exits: Sequence[Rows], policy: Policy, given: int
) -> None:
    """Refuse what would never exclude a class or call an image unknown, at any exit that images can take."""
    needed = images_needed(coverage)
    for index in _reachable(policy.thresholds):
        taken = min(int((each == index).sum()) for each in exits)
        if taken < needed:
            name = "the final exit" if index == len(policy.thresholds) else f"exit {index + 1}"
            total = f"about {math.ceil(given * needed / taken)}" if taken else f"more than {given * needed}"
            raise CalibrationError(
                f"{option} {percent(asked)} needs {counted(needed, 'image')} at each exit, and {taken} of the "
                f"{len(exits[0])} set apart for it (of {given} given) take {name}: give {total} images, or ask for less"
            )


def _reachable(thresholds: Sequence[float]) -> Iterator[int]:
    """Exits that an image can take."""
    for index, threshold in enumerate((*thresholds, 0.0)):
        if threshold != NEVER:
            yield index
        if threshold <= 0:
            return


def probabilities_at(arrays: ExitArrays, exits: Rows, fitted: Fitted) -> npt.NDArray[np.float64]:
    """Probabilities at the exit taken, with its temperature: [N, K]."""
    logits = arrays.logits[np.arange(len(exits)), exits].astype(np.float64)
    temperatures = np.array(fitted.temperatures or (1.0,) * arrays.logits.shape[1])
    return softmax(logits / temperatures[exits][:, None])
