"""Divides the calibration images; what is fitted on parts on which no threshold is chosen or tested.

Confidence scores are fitted before the thresholds, prediction sets and the rule for unknown images after them. No image
serves two purposes of which one would bias the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import UNFITTED, AccuracyTable, ExitArrays, Fitted, Score, first_exit, max_probability, softmax
from gfnet_dynn.uncertainty.conformal import (
    NEVER_UNKNOWN,
    familiarity,
    images_needed,
    nonconformity,
    per_exit_quantiles,
    unknown_distance,
    unknown_thresholds,
)
from gfnet_dynn.uncertainty.reliability import fit_temperature
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

SCALED: frozenset[Score] = frozenset({"max-softmax", "margin", "entropy", "neighbours"})
"""Scores computed from probabilities, which need temperatures."""

FIT_SHARE = _LATER_SHARE = 0.3
_MOST_BINS = 10
_IMAGES_A_BIN = 15
_MARGIN = 3  # times the images needed are expected in a group, so that it hardly ever has fewer

Rows = npt.NDArray[np.intp]
Distances = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """The division of the images, as rows of the outputs."""

    fit: Rows  # score and path are fitted on these
    test: Rows  # thresholds are found and tested on these
    later: Rows  # prediction sets and the rule for unknown images are made from these


def divide(images: int, request: CalibrationRequest, *, labelled: bool = True) -> Parts:
    """A random division, the same for the same number and seed; without labels no score is fitted."""
    fits = request.per_exit or (request.score in SCALED and labelled)
    later = request.coverage is not None or (request.false_alarms is not None and request.unknown_by == "both")
    fit_end = round(FIT_SHARE * images) if fits else 0
    later_start = images - (round(_LATER_SHARE * images) if later else 0)
    return Parts(*_cut(images, [fit_end, later_start], request.seed))


def split(arrays: ExitArrays, first: int, seed: int) -> tuple[ExitArrays, ExitArrays]:
    """So many images drawn at random, and the others, each in their order."""
    drawn, others = _cut(len(arrays.labels), [first], seed)
    return arrays.take(drawn), arrays.take(others)


def _cut(images: int, places: list[int], seed: int) -> list[Rows]:
    shuffled = np.random.default_rng(seed).permutation(images).astype(np.intp)
    return [np.sort(part) for part in np.split(shuffled, places)]


def fit(arrays: ExitArrays, score: Score) -> Fitted:
    """Temperatures of all exits, and tables of accuracy where the score needs them; from at least one image."""
    if score not in SCALED:
        return UNFITTED
    exits = arrays.logits.shape[1]
    scaled = Fitted(tuple(fit_temperature(arrays.logits[:, index], arrays.labels) for index in range(exits)))
    if score != "neighbours":
        return scaled
    tables = []
    for index in range(exits - 1):
        confidences = max_probability(scaled.scaled(index, arrays.logits[:, index]))
        tables.append(_accuracy_table(confidences, arrays.correct[:, index]))
    return Fitted(scaled.temperatures, tuple(tables))


def _accuracy_table(confidences: npt.NDArray[np.float32], correct: npt.NDArray[np.bool_]) -> AccuracyTable:
    """Bins of equal mass; accuracies that never fall with rising confidence, to smooth the noise of few images."""
    bins = max(1, min(_MOST_BINS, math.isqrt(len(correct)), len(correct) // _IMAGES_A_BIN))
    quantiles = np.quantile(confidences.astype(np.float64), np.arange(1, bins) / bins)
    edges = np.unique(quantiles).astype(np.float32)
    places = np.searchsorted(edges, confidences, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1)
    hits = np.bincount(places, weights=correct, minlength=len(edges) + 1)
    filled = counts > 0  # equal confidences leave bins empty, which would count as half correct and lift those above
    edges, counts, hits = edges[filled[:-1]], counts[filled], hits[filled]
    # Half an image correct and half wrong are added: a tiny bin is neither 0 nor 1.
    accuracies = np.maximum.accumulate((hits + 0.5) / (counts + 1))
    return AccuracyTable(tuple(map(float, edges)), tuple(map(float, accuracies)))


def with_sets_and_unknown(
    policy: Policy, scored: Mapping[str, ExitArrays], parts: Parts, request: CalibrationRequest
) -> Policy:
    """The policy with what the request adds, valid in every precision: the most cautious of their values.

    It is guaranteed at each exit, or for neighbouring exits together where few images take them: see `pooled_exits`.
    `scored` has all images by precision, with the policy's score as gates. Raises CalibrationError: too few images for
    a rule that ever excludes a class or calls an image unknown.
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
    if (rate := request.false_alarms) is not None and request.unknown_by == "distance":
        policy = replace(
            policy, unknown_rule=_by_distance([each.distances for each in scored.values()], rate, num_exits)
        )
    elif rate is not None:
        distances = [each.distances for each in later if each.distances is not None]
        each_rate = rate / 2 if distances else rate  # either alarm may be false, so each gets half of the rate
        pools = pool("--false-alarms", rate, 1 - each_rate)
        thresholds = []
        for each, taken in zip(later, exits, strict=True):
            familiar = familiarity(each.logits[np.arange(len(taken)), taken])
            thresholds.append(unknown_thresholds(familiar, pools[taken], num_exits, each_rate))
        furthest = max((unknown_distance(each, each_rate) for each in distances), default=None)
        rule = UnknownRule(tuple(map(float, np.min(thresholds, axis=0)[pools])), rate, furthest)
        policy = replace(policy, unknown_rule=rule)
    return policy


def _by_distance(distances: Sequence[Distances | None], rate: float, num_exits: int) -> UnknownRule:
    """The rule for the distance alone, from all images: neither scores nor thresholds change a distance."""
    known = [each for each in distances if each is not None]
    if len(known) < len(distances):
        raise CalibrationError("the network computes no distances: export it again, or leave --unknown-by out")
    if len(known[0]) < (needed := images_needed(1 - rate)):
        raise CalibrationError(f"--false-alarms {percent(rate)} needs {counted(needed, 'image')}, not {len(known[0])}")
    return UnknownRule((NEVER_UNKNOWN,) * num_exits, rate, max(unknown_distance(each, rate) for each in known))


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
            f"{fewest} of the {given} given: give about {math.ceil(given * _MARGIN * needed / max(fewest, 1))} "
            f"({_MARGIN} times as many, so that chance leaves enough), or ask for less"
        )


def probabilities_at(arrays: ExitArrays, exits: Rows, fitted: Fitted) -> npt.NDArray[np.float64]:
    """Probabilities at the exit taken, with its temperature: [N, K]."""
    return softmax(fitted.scaled(exits, arrays.logits[np.arange(len(exits)), exits].astype(np.float64)))
