"""Finds the policy that was asked for, and what to expect of it.

No image serves two purposes of which one would spoil the other: scores and paths are fitted to some, thresholds are
tested on others, prediction sets and the alarm for unknown images are made with a third part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.score_fitting import fit
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.exits.scores import UNFITTED, Fitted, by_score
from gfnet_dynn.exits.sweep import OperatingPoint, operate
from gfnet_dynn.guarantees.budget import highest, last_in_time, levels, spend
from gfnet_dynn.guarantees.control import Guarantee, RiskTarget, control, unused_level
from gfnet_dynn.guarantees.paths import Path, by_deadline, greedy_path, same_for_all
from gfnet_dynn.guarantees.risk import risk_of
from gfnet_dynn.uncertainty.drift import Reference, reference_of
from gfnet_dynn.uncertainty.out_of_distribution import alarm_thresholds, familiarity
from gfnet_dynn.uncertainty.prediction_sets import set_thresholds
from gfnet_dynn.wording import counted

Rows = npt.NDArray[np.intp]

_FEWEST_IMAGES = 3  # one for each purpose


@dataclass(frozen=True)
class Parts:
    """Which images serve which purpose, as rows of the outputs.

    Attributes:
        fit: score and path are fitted to these.
        test: thresholds are found and tested on these.
        later: sets and alarms are made with these.
    """

    fit: Rows
    test: Rows
    later: Rows


@dataclass(frozen=True)
class Calibrated:
    """A policy, and how it does on the images that its thresholds were tested on.

    Attributes:
        order: what was asked for.
        policy: what came of it.
        parts: the division of the images.
        point: the gated network by that policy on the tested images; costs in the order's unit.
        full_accuracy: of the full network on them, in the same precision.
        precision: in which the policy costs most, whose figures these are.
        guarantee: what the risk's test found; None where none was asked for.
    """

    order: CalibrationRequest
    policy: Policy
    parts: Parts
    point: OperatingPoint
    full_accuracy: float
    precision: str
    guarantee: Guarantee | None


def calibrate(outputs: Outputs, order: CalibrationRequest) -> Calibrated:
    """Find the policy.

    Raises:
        CalibrationError: the images cannot support the target, or the budget is out of reach; says what would do.
    """
    if outputs.images < _FEWEST_IMAGES:
        raise CalibrationError(
            f"{counted(outputs.images, 'image')} cannot be divided: give {_FEWEST_IMAGES} at the very least"
        )
    parts = divide(outputs.images, order)
    variants = list(outputs.precisions.values())
    if variants[0].gates.shape[1] == 0:
        raise CalibrationError("the network has no early exits, so there is nothing to choose: train it with --exits")
    fitted = fit(take(variants[0], parts.fit), order.score) if len(parts.fit) else UNFITTED
    scores = [by_score(each, order.score, fitted) for each in variants]
    guarantee = None
    if order.target:
        guarantee, parts = _guarantee([_delivered(each, fitted) for each in scores], parts, order)
    thresholds = guarantee.thresholds if guarantee else _spend(scores, parts, order)
    tested = [take(each, parts.test) for each in scores]
    price = order.costs.means
    points = [operate(each, price, thresholds) for each in tested]
    dearest = max(range(len(points)), key=lambda index: points[index].mean_cost)
    point = points[dearest]
    if guarantee and order.budget is not None and point.mean_cost > highest(order.budget):
        raise CalibrationError(
            f"{_told(guarantee.target)} costs {point.mean_cost:.4g} {order.costs.unit} on average, above the budget of "
            f"{order.budget:g}: allow more risk, more cost, or give more images"
        )
    policy = Policy(
        name=order.name,
        score=order.score,
        thresholds=thresholds,
        source=_source(order, outputs, guarantee.images if guarantee else len(parts.test)),
        fitted=fitted,
        guarantee=_guaranteed(guarantee, order, outputs, parts),
        references={
            name: _reference(each, thresholds, fitted) for name, each in zip(outputs.precisions, tested, strict=True)
        },
    )
    policy = _with_later(policy, [take(each, parts.later) for each in scores], order)
    full = float(tested[dearest].correct[:, -1].mean())
    return Calibrated(order, policy, parts, point, full, list(outputs.precisions)[dearest], guarantee)


def divide(images: int, order: CalibrationRequest) -> Parts:
    """A division by chance, the same for the same number and seed."""
    shuffled = np.random.default_rng(order.seed).permutation(images).astype(np.intp)
    fit_end = round(order.fit_share * images)
    later_start = images - round(order.later_share * images)
    return Parts(np.sort(shuffled[:fit_end]), np.sort(shuffled[fit_end:later_start]), np.sort(shuffled[later_start:]))


def take(arrays: ExitArrays, rows: Rows) -> ExitArrays:
    """Some of the images."""
    return ExitArrays(arrays.logits[rows], arrays.gates[rows], arrays.labels[rows])


def _guarantee(scores: Sequence[ExitArrays], parts: Parts, order: CalibrationRequest) -> tuple[Guarantee, Parts]:
    """The cheapest thresholds that keep the target, and the division of the images by which they were found.

    A threshold for each exit is tested at the part of the level that the test of one for all cannot use. So one for
    all is found as if nothing else were tested, and the cheaper of the two on the tested images never costs more there.
    """
    assert order.target is not None
    target, tested = order.target, [take(each, parts.test) for each in scores]
    common = _in_time(same_for_all(tested[0].gates.shape[1]), order)
    if not order.per_exit:
        return _control(scores, parts.test, order, target, common), parts
    # To the images for the path no such score was fitted, so one for all may be tested on them too.
    alone = divide(len(scores[0].labels), replace(order, per_exit=False))
    guarantee = _control(scores, alone.test, order, target, common)
    fitting = take(scores[0], parts.fit)
    path = _in_time(greedy_path(fitting, risk_of(fitting, target.risk), order.costs.means), order)
    left = unused_level(len(alone.test), target)
    if left <= 0:
        return guarantee, alone
    try:
        own = _control(scores, parts.test, order, replace(target, delta=left), path)
    except CalibrationError:
        return guarantee, alone

    def cost(found: Guarantee) -> float:
        return max(operate(each, order.costs.means, found.thresholds).mean_cost for each in tested)

    return (guarantee, alone) if cost(guarantee) <= cost(own) else (replace(own, target=target), parts)


def _delivered(arrays: ExitArrays, fitted: Fitted) -> ExitArrays:
    """The same with logits at the temperatures at which `classify` tells probabilities, which the Brier risk is of."""
    if not fitted.temperatures:
        return arrays
    temperatures = np.array(fitted.temperatures, arrays.logits.dtype)[:, None]
    return replace(arrays, logits=arrays.logits / temperatures)


def _control(
    scores: Sequence[ExitArrays], rows: Rows, order: CalibrationRequest, target: RiskTarget, path: Path
) -> Guarantee:
    """As `control` on some of the images; its refusals say what it does not know: that there are others."""
    try:
        return control([take(each, rows) for each in scores], order.costs.means, target, path)
    except CalibrationError as error:
        given, notes = len(scores[0].labels), ""
        if len(rows) < given:
            notes += f"; {len(rows)} of the {given} images given are tested, the others fit score or path or make sets"
        if np.isfinite(path[0]).any():
            last = int(np.flatnonzero(np.isfinite(path[0]))[0]) + 1
            notes += f"; for the deadline, exit {last} stands for the full network"
        raise CalibrationError(f"{error}{notes}") from error


def _spend(scores: Sequence[ExitArrays], parts: Parts, order: CalibrationRequest) -> tuple[float, ...]:
    tested = [take(each, parts.test) for each in scores]
    if order.per_exit:
        fitting = take(scores[0], parts.fit)
        path = greedy_path(fitting, risk_of(fitting, "harm"), order.costs.means)
    else:
        path = levels(tested)
    path = _in_time(path, order)
    if order.budget is None:  # a deadline alone: as late as it allows
        return tuple(map(float, path[0]))
    return spend(tested, order.costs, order.budget, path)


def _in_time(path: Path, order: CalibrationRequest) -> Path:
    if order.deadline is None:
        return path
    last = last_in_time(order.costs, order.deadline)
    return path if last == path.shape[1] else by_deadline(path, last)


def _reference(arrays: ExitArrays, thresholds: tuple[float, ...], fitted: Fitted) -> Reference:
    exits = first_exit(arrays.gates, thresholds)
    return reference_of(exits, _at(arrays, exits, fitted).max(axis=1), arrays.logits.shape[1])


def _at(arrays: ExitArrays, exits: npt.NDArray[np.intp], fitted: Fitted) -> npt.NDArray[np.float64]:
    """Probabilities at the exit taken, [N, K]."""
    logits = arrays.logits[np.arange(len(exits)), exits].astype(np.float64)
    temperatures = np.array(fitted.temperatures or (1.0,) * arrays.logits.shape[1])
    return softmax(logits / temperatures[exits][:, None])


def _with_later(policy: Policy, variants: Sequence[ExitArrays], order: CalibrationRequest) -> Policy:
    """PredictionSets and alarms that hold in every precision: of the quantiles the widest, of the alarms the shyest."""
    sets, unknowns, num_exits = [], [], variants[0].logits.shape[1]
    for each in variants:
        exits = first_exit(each.gates, policy.thresholds)
        if order.coverage is not None:
            taken = _at(each, exits, policy.fitted)
            sets.append(set_thresholds(taken, each.labels, exits, num_exits, order.coverage, "least-ambiguous"))
        if order.false_alarms is not None:
            familiar = familiarity(each.logits[np.arange(len(exits)), exits], "energy")
            unknowns.append(alarm_thresholds(familiar, exits, num_exits, order.false_alarms))
    if sets and order.coverage is not None:
        quantiles = tuple(map(float, np.max(sets, axis=0)))
        policy = replace(policy, sets=PredictionSets("least-ambiguous", quantiles, order.coverage))
    if unknowns and order.false_alarms is not None:
        thresholds = tuple(map(float, np.min(unknowns, axis=0)))
        policy = replace(policy, unknowns=UnknownRule("energy", thresholds, order.false_alarms))
    return policy


def _told(target: RiskTarget) -> str:
    if target.method == "naive":
        return f"{target.risk} at most {100 * target.epsilon:g} points on the calibration images, without a guarantee"
    sure = "on average" if target.method == "conformal" else f"with {100 * (1 - target.delta):g} % certainty"
    return f"{target.risk} at most {100 * target.epsilon:g} points {sure}"


def _source(order: CalibrationRequest, outputs: Outputs, tested: int) -> str:
    asked = [_told(order.target)] if order.target else []
    asked += [f"mean {order.costs.quantity} at most {order.budget:g} {order.costs.unit}"] if order.budget else []
    asked += [f"p99 {order.costs.quantity} at most {order.deadline:g} {order.costs.unit}"] if order.deadline else []
    return f"calibrated: {'; '.join(asked)}; {tested} images, data {outputs.data[:12]}"


def _guaranteed(
    guarantee: Guarantee | None, order: CalibrationRequest, outputs: Outputs, parts: Parts
) -> dict[str, Any]:
    """What the bundle says of the policy, with the conditions under which it expires."""
    tested, later = guarantee.images if guarantee else len(parts.test), len(parts.later)
    said: dict[str, Any] = {
        "data_sha256": outputs.data,
        "images": {"tested": tested, "fitted": outputs.images - tested - later, "sets_and_alarms": later},
        "seed": order.seed,
        "precisions": list(outputs.precisions),
        "engine": outputs.engine,
    }
    holds_while = [
        "images come as the calibration images did, independently of each other; `gfnet-dynn monitor` looks for drift",
        f"{outputs.engine} runs the graphs of this bundle in one of these precisions; other engines round otherwise",
        "what was asked for had been settled before its result was seen; of several tries the best guarantees less",
        "the thresholds are not changed",
    ]
    if guarantee:
        target = guarantee.target
        said |= {
            "statement": _told(target),
            "risk": target.risk,
            "epsilon": target.epsilon,
            "delta": None if target.method in ("conformal", "naive") else target.delta,
            "method": target.method,
            "risk_on_calibration": guarantee.risk,
        }
    if order.budget is not None or order.deadline is not None:
        costs = order.costs
        said["budget"] = {
            "quantity": costs.quantity,
            "unit": costs.unit,
            "mean": order.budget,
            "p99": order.deadline,
            "exits": list(costs.means),
            "source": costs.source,
        }
        holds_while.append("each exit costs what it cost when it was measured")
    return {**said, "holds_while": holds_while}
