"""Prediction sets and the rule for unknown images, made after the thresholds, from images set apart for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.calibration.fitting import Parts, Rows
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.exits.scores import Fitted
from gfnet_dynn.uncertainty.conformal import (
    familiarity,
    images_needed,
    nonconformity,
    per_exit_quantiles,
    unknown_thresholds,
)
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

_MARGIN = 3  # times the images needed are expected in a group, so that it hardly ever has fewer


def with_sets_and_unknown(
    policy: Policy,
    scored: Mapping[str, ExitArrays],
    parts: Parts,
    request: CalibrationRequest,
) -> Policy:
    """The policy with what the request adds, valid in every precision: the most cautious of their values.

    It is guaranteed at each exit, or for neighbouring exits together where few images take them: see `pooled_exits`.
    `scored` has all images by precision, with the policy's score as gates.

    Raises:
        CalibrationError: too few images for a rule that ever excludes a class or calls an image unknown.
    """
    tested = [first_exit(each.take(parts.test).gates, policy.thresholds) for each in scored.values()]
    later = [each.take(parts.later) for each in scored.values()]
    exits = [first_exit(each.gates, policy.thresholds) for each in later]
    num_exits = later[0].logits.shape[1]

    def pool(option: str, asked: float, coverage: float) -> Rows:
        pools = pooled_exits(tested, num_exits, len(parts.later), images_needed(coverage))
        _require_enough(option, asked, images_needed(coverage), pools, exits, sum(map(len, astuple(parts))))
        return pools

    if (coverage := request.coverage) is not None:
        pools = pool("--coverage", coverage, coverage)
        quantiles = []
        for each, taken in zip(later, exits, strict=True):
            scores = nonconformity(probabilities_at(each, taken, policy.fitted), each.labels)
            quantiles.append(per_exit_quantiles(scores, pools[taken], num_exits, coverage))
        sets = PredictionSets(tuple(map(float, np.max(quantiles, axis=0)[pools])), coverage)
        policy = replace(policy, prediction_sets=sets)
    if (rate := request.false_alarms) is not None:
        pools = pool("--false-alarms", rate, 1 - rate)
        thresholds = []
        for each, taken in zip(later, exits, strict=True):
            familiar = familiarity(each.logits[np.arange(len(taken)), taken])
            thresholds.append(unknown_thresholds(familiar, pools[taken], num_exits, rate))
        rule = UnknownRule(tuple(map(float, np.min(thresholds, axis=0)[pools])), rate)
        policy = replace(policy, unknown_rule=rule)
    return policy


def pooled_exits(tested: Sequence[Rows], num_exits: int, later: int, needed: int) -> Rows:
    """Index of the group of each exit, [G + 1]: neighbouring exits are joined until enough images take each group.

    The groups depend on the tested images alone, so they are fixed for those that rules are made from, as a conformal
    guarantee for groups needs. `tested` has the exits taken by these in each precision, `later` is the number of those,
    of which each group needs `needed`.
    """
    shares = np.min([np.bincount(each, minlength=num_exits) / len(each) for each in tested], axis=0)
    groups, expected = [0], 0.0
    for before in shares[:-1]:
        expected += before * later
        enough = expected >= _MARGIN * needed
        groups.append(groups[-1] + enough)
        expected = 0.0 if enough else expected
    if expected + shares[-1] * later < _MARGIN * needed:  # the last group joins the one before it
        groups = [min(group, max(0, groups[-1] - 1)) for group in groups]
    return np.array(groups, np.intp)


def _require_enough(option: str, asked: float, needed: int, pools: Rows, exits: Sequence[Rows], given: int) -> None:
    """Refuse a rule that never excludes a class or calls an image unknown."""
    fewest = min(int(np.bincount(pools[each], minlength=pools[-1] + 1).min()) for each in exits)
    if fewest < needed:
        raise CalibrationError(
            f"{option} {percent(asked)} needs {counted(needed, 'image')} set apart for each group of exits, and has "
            f"{fewest} of the {given} given: give about {math.ceil(given * _MARGIN * needed / max(fewest, 1))}, or ask "
            "for less"
        )


def probabilities_at(arrays: ExitArrays, exits: Rows, fitted: Fitted) -> npt.NDArray[np.float64]:
    """Probabilities at the exit taken, with its temperature: [N, K]."""
    logits = arrays.logits[np.arange(len(exits)), exits].astype(np.float64)
    temperatures = np.array(fitted.temperatures or (1.0,) * arrays.logits.shape[1])
    return softmax(logits / temperatures[exits][:, None])
