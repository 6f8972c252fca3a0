"""Finds the policy that was asked for, and what to expect of it.

No image serves two purposes of which one would spoil the other: signals and paths are fitted to some, thresholds are
tested on others, prediction sets and the alarm for unknown images are made with a third part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy, Sets, Unknowns
from gfnet_dynn.calibration.order import Order
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.exits.budget import highest, last_in_time, levels, spend
from gfnet_dynn.exits.control import Promise, Wish, control, unused_level
from gfnet_dynn.exits.drift import Reference, reference_of
from gfnet_dynn.exits.fitting import fit
from gfnet_dynn.exits.paths import Path, by_deadline, greedy_path, same_for_all
from gfnet_dynn.exits.risk import risk_of
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.exits.sets import set_thresholds
from gfnet_dynn.exits.signals import UNFITTED, Fitted, by_signal
from gfnet_dynn.exits.sweep import OperatingPoint, operate
from gfnet_dynn.exits.unknown import alarm_thresholds, familiarity
from gfnet_dynn.wording import counted

Rows = npt.NDArray[np.intp]

_FEWEST_IMAGES = 3  # one for each purpose


@dataclass(frozen=True)
class Parts:
    """Which images serve which purpose, as rows of the outputs.

    Attributes:
        fit: signal and path are fitted to these.
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
        promise: what the risk's test found; None where none was asked for.
    """

    order: Order
    policy: Policy
    parts: Parts
    point: OperatingPoint
    full_accuracy: float
    precision: str
    promise: Promise | None


def calibrate(outputs: Outputs, order: Order) -> Calibrated:
    """Find the policy.

    Raises:
        CalibrationError: the images cannot support the wish, or the budget is out of reach; says what would do.
    """
    if outputs.images < _FEWEST_IMAGES:
        raise CalibrationError(
            f"{counted(outputs.images, 'image')} cannot be divided: give {_FEWEST_IMAGES} at the very least"
        )
    parts = divide(outputs.images, order)
    variants = list(outputs.precisions.values())
    if variants[0].gates.shape[1] == 0:
        raise CalibrationError("the network has no early exits, so there is nothing to choose: train it with --exits")
    fitted = fit(take(variants[0], parts.fit), order.signal) if len(parts.fit) else UNFITTED
    signals = [by_signal(each, order.signal, fitted) for each in variants]
    promise = None
    if order.wish:
        promise, parts = _promise([_delivered(each, fitted) for each in signals], parts, order)
    thresholds = promise.thresholds if promise else _spend(signals, parts, order)
    tested = [take(each, parts.test) for each in signals]
    price = order.costs.means
    points = [operate(each, price, thresholds) for each in tested]
    dearest = max(range(len(points)), key=lambda index: points[index].mean_cost)
    point = points[dearest]
    if promise and order.budget is not None and point.mean_cost > highest(order.budget):
        raise CalibrationError(
            f"{_told(promise.wish)} costs {point.mean_cost:.4g} {order.costs.unit} on average, above the budget of "
            f"{order.budget:g}: allow more risk, more cost, or give more images"
        )
    policy = Policy(
        name=order.name,
        signal=order.signal,
        thresholds=thresholds,
        source=_source(order, outputs, promise.images if promise else len(parts.test)),
        fitted=fitted,
        promise=_promised(promise, order, outputs, parts),
        references={
            name: _reference(each, thresholds, fitted) for name, each in zip(outputs.precisions, tested, strict=True)
        },
    )
    policy = _with_later(policy, [take(each, parts.later) for each in signals], order)
    full = float(tested[dearest].correct[:, -1].mean())
    return Calibrated(order, policy, parts, point, full, list(outputs.precisions)[dearest], promise)


def divide(images: int, order: Order) -> Parts:
    """A division by chance, the same for the same number and seed."""
    shuffled = np.random.default_rng(order.seed).permutation(images).astype(np.intp)
    fit_end = round(order.fit_share * images)
    later_start = images - round(order.later_share * images)
    return Parts(np.sort(shuffled[:fit_end]), np.sort(shuffled[fit_end:later_start]), np.sort(shuffled[later_start:]))


def take(arrays: ExitArrays, rows: Rows) -> ExitArrays:
    """Some of the images."""
    return ExitArrays(arrays.logits[rows], arrays.gates[rows], arrays.labels[rows])


def _promise(signals: Sequence[ExitArrays], parts: Parts, order: Order) -> tuple[Promise, Parts]:
    """The cheapest thresholds that keep the wish, and the division of the images by which they were found.

    A threshold for each exit is tested at the part of the level that the test of one for all cannot use. So one for
    all is found as if nothing else were tested, and the cheaper of the two on the tested images never costs more there.
    """
    assert order.wish is not None
    wish, tested = order.wish, [take(each, parts.test) for each in signals]
    common = _in_time(same_for_all(tested[0].gates.shape[1]), order)
    if not order.per_exit:
        return _control(signals, parts.test, order, wish, common), parts
    # To the images for the path no such signal was fitted, so one for all may be tested on them too.
    alone = divide(len(signals[0].labels), replace(order, per_exit=False))
    promise = _control(signals, alone.test, order, wish, common)
    fitting = take(signals[0], parts.fit)
    path = _in_time(greedy_path(fitting, risk_of(fitting, wish.risk), order.costs.means), order)
    left = unused_level(len(alone.test), wish)
    if left <= 0:
        return promise, alone
    try:
        own = _control(signals, parts.test, order, replace(wish, delta=left), path)
    except CalibrationError:
        return promise, alone

    def cost(found: Promise) -> float:
        return max(operate(each, order.costs.means, found.thresholds).mean_cost for each in tested)

    return (promise, alone) if cost(promise) <= cost(own) else (replace(own, wish=wish), parts)


def _delivered(arrays: ExitArrays, fitted: Fitted) -> ExitArrays:
    """The same with logits at the temperatures at which `classify` tells probabilities, which the Brier risk is of."""
    if not fitted.temperatures:
        return arrays
    temperatures = np.array(fitted.temperatures, arrays.logits.dtype)[:, None]
    return replace(arrays, logits=arrays.logits / temperatures)


def _control(signals: Sequence[ExitArrays], rows: Rows, order: Order, wish: Wish, path: Path) -> Promise:
    """As `control` on some of the images; its refusals say what it does not know: that there are others."""
    try:
        return control([take(each, rows) for each in signals], order.costs.means, wish, path)
    except CalibrationError as error:
        given, notes = len(signals[0].labels), ""
        if len(rows) < given:
            notes += f"; {len(rows)} of the {given} images given are tested, the others fit signal or path or make sets"
        if np.isfinite(path[0]).any():
            last = int(np.flatnonzero(np.isfinite(path[0]))[0]) + 1
            notes += f"; for the deadline, exit {last} stands for the full network"
        raise CalibrationError(f"{error}{notes}") from error


def _spend(signals: Sequence[ExitArrays], parts: Parts, order: Order) -> tuple[float, ...]:
    tested = [take(each, parts.test) for each in signals]
    if order.per_exit:
        fitting = take(signals[0], parts.fit)
        path = greedy_path(fitting, risk_of(fitting, "harm"), order.costs.means)
    else:
        path = levels(tested)
    path = _in_time(path, order)
    if order.budget is None:  # a deadline alone: as late as it allows
        return tuple(map(float, path[0]))
    return spend(tested, order.costs, order.budget, path)


def _in_time(path: Path, order: Order) -> Path:
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


def _with_later(policy: Policy, variants: Sequence[ExitArrays], order: Order) -> Policy:
    """Sets and alarms that hold in every precision: of the quantiles the widest, of the alarms the shyest."""
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
        policy = replace(policy, sets=Sets("least-ambiguous", quantiles, order.coverage))
    if unknowns and order.false_alarms is not None:
        thresholds = tuple(map(float, np.min(unknowns, axis=0)))
        policy = replace(policy, unknowns=Unknowns("energy", thresholds, order.false_alarms))
    return policy


def _told(wish: Wish) -> str:
    if wish.method == "naive":
        return f"{wish.risk} at most {100 * wish.epsilon:g} points on the calibration images, without a promise"
    sure = "on average" if wish.method == "conformal" else f"with {100 * (1 - wish.delta):g} % certainty"
    return f"{wish.risk} at most {100 * wish.epsilon:g} points {sure}"


def _source(order: Order, outputs: Outputs, tested: int) -> str:
    asked = [_told(order.wish)] if order.wish else []
    asked += [f"mean {order.costs.quantity} at most {order.budget:g} {order.costs.unit}"] if order.budget else []
    asked += [f"p99 {order.costs.quantity} at most {order.deadline:g} {order.costs.unit}"] if order.deadline else []
    return f"calibrated: {'; '.join(asked)}; {tested} images, data {outputs.data[:12]}"


def _promised(promise: Promise | None, order: Order, outputs: Outputs, parts: Parts) -> dict[str, Any]:
    """What the bundle says of the policy, with the conditions under which it expires."""
    tested, later = promise.images if promise else len(parts.test), len(parts.later)
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
        "what was asked for had been settled before its result was seen; of several tries the best promises less",
        "the thresholds are not changed",
    ]
    if promise:
        wish = promise.wish
        said |= {
            "statement": _told(wish),
            "risk": wish.risk,
            "epsilon": wish.epsilon,
            "delta": None if wish.method in ("conformal", "naive") else wish.delta,
            "method": wish.method,
            "risk_on_calibration": promise.risk,
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
