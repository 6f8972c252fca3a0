"""Finds the exit policy that a request asks for.

No image serves two purposes of which one would bias the other: scores and paths are fitted on one part, thresholds are
tested on another, prediction sets and the rule for unknown images are made from a third.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration.fitting import Parts, Rows, divide, fit, probabilities_at, with_sets_and_unknown
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import UNFITTED, ExitArrays, Fitted, OperatingPoint, by_score, first_exit, operate
from gfnet_dynn.guarantees.budget import Costs, highest, last_in_time, levels, spend
from gfnet_dynn.guarantees.control import Guarantee, RiskTarget, control, unused_level
from gfnet_dynn.guarantees.paths import Path, by_deadline, greedy_path, same_for_all
from gfnet_dynn.guarantees.risk import risk_of
from gfnet_dynn.system.storage import to_json
from gfnet_dynn.uncertainty.drift import Observations, Reference, reference_of
from gfnet_dynn.wording import counted

_FEWEST_IMAGES = 3  # one for each purpose


@dataclass(frozen=True)
class FoundPolicy:
    """A policy, and the images that its thresholds were tested on."""

    request: CalibrationRequest
    costs: Costs
    policy: Policy
    parts: Parts
    tested: Mapping[str, ExitArrays]  # by precision, the tested images with the policy's score as gates
    guarantee: Guarantee | None  # the result of the risk's test; None where no risk was given

    def point(self, precision: str) -> OperatingPoint:
        """The network by this policy on the tested images."""
        return operate(self.tested[precision], self.costs.means, self.policy.thresholds)

    @property
    def precision(self) -> str:
        """That of the costs; the covered one with the highest mean cost where they are the same in all."""
        return self.costs.precision or max(self.tested, key=lambda name: self.point(name).mean_cost)


def find_policy(outputs: Outputs, request: CalibrationRequest, costs: Costs) -> FoundPolicy:
    """Find the policy, from the outputs in the precisions to cover; costs are in the unit of the request's budget.

    Raises CalibrationError: the images cannot support the request, or the budget cannot be reached; says what would do.
    """
    reference = outputs.precisions["fp32"]
    _require_usable(outputs, request)
    parts = divide(outputs.images, request, labelled=outputs.labelled)
    fitted = fit(reference.take(parts.fit), request.score) if outputs.labelled and len(parts.fit) else UNFITTED
    scored = {name: by_score(each, request.score, fitted) for name, each in outputs.precisions.items()}
    guarantee = None
    if target := request.target:
        # The Brier score depends on the temperatures of the delivered probabilities.
        scaled = {name: replace(each, logits=fitted.scaled(slice(None), each.logits)) for name, each in scored.items()}
        guarantee, parts = _guarantee(scaled, parts, request, costs, target)
    thresholds = guarantee.thresholds if guarantee else _spend(scored, parts, request, costs)
    tested = {name: each.take(parts.test) for name, each in scored.items()}
    policy = Policy(
        name=request.name,
        score=request.score,
        thresholds=thresholds,
        source=_source(request, costs, outputs, len(parts.test)),
        fitted=fitted,
        guarantee=_describe(guarantee, request, costs, outputs, parts),
        references={name: _reference(each, thresholds, fitted) for name, each in tested.items()},
    )
    found = FoundPolicy(request, costs, policy, parts, tested, guarantee)
    spent = found.point(found.precision).mean_cost
    if guarantee and request.budget is not None and spent > highest(request.budget):
        raise CalibrationError(
            f"{guarantee.target} costs {spent:.4g} {costs.unit} on average, above the budget of {request.budget:g}: "
            "allow more risk, more cost, or give more images"
        )
    return replace(found, policy=with_sets_and_unknown(policy, scored, parts, request))


def _require_usable(outputs: Outputs, request: CalibrationRequest) -> None:
    if outputs.images < _FEWEST_IMAGES:
        raise CalibrationError(
            f"{counted(outputs.images, 'image')} cannot be divided: at least {_FEWEST_IMAGES} are needed"
        )
    if request.needs_labels and not outputs.labelled:
        raise CalibrationError(
            "the images have no labels, which --risk other than disagreement, --coverage and --score neighbours need: "
            "give a folder of images for each class"
        )
    if next(iter(outputs.precisions.values())).gates.shape[1] == 0:
        raise CalibrationError("the network has no early exits, so there is no policy to find: train it with --exits")


def _guarantee(
    scored: Mapping[str, ExitArrays], parts: Parts, request: CalibrationRequest, costs: Costs, target: RiskTarget
) -> tuple[Guarantee, Parts]:
    """The cheapest thresholds that keep the target, and the division of the images by which they were found.

    Thresholds for each exit are tested at the part of the significance level that the test of one threshold for all
    cannot use. The latter is therefore found as if nothing else were tested, and the cheaper of both is taken.
    """
    common = _within_deadline(same_for_all(scored["fp32"].gates.shape[1]), request, costs)
    if not request.per_exit:
        return _control(scored, parts.test, request, costs, target, common), parts
    # A score without fitted parameters saw no image, so one threshold for all is tested on those for the path too.
    alone = divide(len(scored["fp32"].labels), replace(request, per_exit=False))
    guarantee = _control(scored, alone.test, request, costs, target, common)
    fitting = scored["fp32"].take(parts.fit)
    path = _within_deadline(greedy_path(fitting, risk_of(fitting, target.risk), costs.means), request, costs)
    left = unused_level(len(alone.test), target)
    if 1 - left >= 1:
        return guarantee, alone
    try:
        own = _control(scored, parts.test, request, costs, replace(target, confidence=1 - left), path)
    except CalibrationError:
        return guarantee, alone
    tested = [each.take(parts.test) for each in _limited(scored, costs)]

    def cost(found: Guarantee) -> float:
        return max(operate(each, costs.means, found.thresholds).mean_cost for each in tested)

    return (guarantee, alone) if cost(guarantee) <= cost(own) else (replace(own, target=target), parts)


def _limited(scored: Mapping[str, ExitArrays], costs: Costs) -> list[ExitArrays]:
    """The precisions whose mean cost counts: the measured one, or all where costs are the same."""
    return [scored[costs.precision]] if costs.precision else list(scored.values())


def _control(
    scored: Mapping[str, ExitArrays],
    rows: Rows,
    request: CalibrationRequest,
    costs: Costs,
    target: RiskTarget,
    path: Path,
) -> Guarantee:
    """As `control` on some of the images; a refusal names the others."""
    try:
        return control({name: each.take(rows) for name, each in scored.items()}, costs.means, target, path)
    except CalibrationError as error:
        given, notes = len(scored["fp32"].labels), ""
        if len(rows) < given:
            notes += f"; {len(rows)} of the {given} images given are tested, the others fit the score or make sets"
        if np.isfinite(path[0]).any():
            last = int(np.flatnonzero(np.isfinite(path[0]))[0]) + 1
            notes += f"; because of --p99-ms, exit {last} is the last one"
        raise CalibrationError(f"{error}{notes}", error.precision) from error


def _spend(
    scored: Mapping[str, ExitArrays], parts: Parts, request: CalibrationRequest, costs: Costs
) -> tuple[float, ...]:
    tested = [each.take(parts.test) for each in _limited(scored, costs)]
    if request.per_exit:
        fitting = scored["fp32"].take(parts.fit)
        path = greedy_path(fitting, risk_of(fitting, "harmful-exits"), costs.means)
    else:
        path = levels(tested)
    path = _within_deadline(path, request, costs)
    if request.budget is None:  # a deadline alone: the last exit that keeps it
        return tuple(map(float, path[0]))
    return spend(tested, costs, request.budget, path)


def _within_deadline(path: Path, request: CalibrationRequest, costs: Costs) -> Path:
    if request.p99_ms is None:
        return path
    return by_deadline(path, last_in_time(costs, request.p99_ms))


def _reference(arrays: ExitArrays, thresholds: tuple[float, ...], fitted: Fitted) -> Reference:
    exits = first_exit(arrays.gates, thresholds)
    probabilities = probabilities_at(arrays, exits, fitted)
    observed = Observations(exits, probabilities.max(axis=1), probabilities.argmax(axis=1))
    return reference_of(observed, *arrays.logits.shape[1:])


def _source(request: CalibrationRequest, costs: Costs, outputs: Outputs, tested: int) -> str:
    asked = [str(request.target)] if request.target else []
    asked += [f"mean {costs.quantity} at most {request.budget:g} {costs.unit}"] if request.budget else []
    asked += [f"p99 {costs.quantity} at most {request.p99_ms:g} {costs.unit}"] if request.p99_ms else []
    return f"calibrated: {'; '.join(asked)}; {tested} images, data {outputs.data[:12]}"


def _describe(
    guarantee: Guarantee | None, request: CalibrationRequest, costs: Costs, outputs: Outputs, parts: Parts
) -> dict[str, Any]:
    """What the bundle stores of the guarantee, and the conditions under which it holds."""
    described: dict[str, Any] = {
        "data_sha256": outputs.data,
        "labelled": outputs.labelled,
        "images": {"tested": len(parts.test), "fitted": len(parts.fit), "sets_and_unknown": len(parts.later)},
        "seed": request.seed,
        "precisions": list(outputs.precisions),
        "engine": outputs.engine,
    }
    conditions = [
        "images are independent and come from the distribution of the calibration images: see `gfnet-dynn monitor`",
        f"{outputs.engine} runs the graphs of this bundle in {' or '.join(outputs.precisions)}; others round otherwise",
        "the request was fixed before its result was seen: the best of several attempts guarantees less",
        "the thresholds are unchanged",
    ]
    if guarantee:
        target = guarantee.target
        described |= {
            "statement": str(target),
            "risk": target.risk,
            "reference": "full network in fp32",
            "risk_limit": target.limit,
            "confidence": None if target.method in ("conformal", "naive") else target.confidence,
            "method": target.method,
            "risk_on_calibration": guarantee.risk,
        }
    if request.budget is not None or request.p99_ms is not None:
        described["budget"] = {**msgspec.json.decode(to_json(costs)), "mean": request.budget, "p99": request.p99_ms}
        conditions.append("each exit costs what was measured")
    return {**described, "conditions": conditions}
