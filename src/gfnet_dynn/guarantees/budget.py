"""Thresholds that spend a budget of mean cost, or keep a deadline.

Each exit has a cost, measured on the device or counted. Accuracy rises with the mean cost, up to noise, so as much of a
budget is spent as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import NEVER, ExitArrays
from gfnet_dynn.guarantees.paths import Path, exits_along, same_for_all

_MOST_STEPS = 2000
_AT_ONCE = 100
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of each exit."""

    quantity: str  # such as `latency`
    unit: str  # such as `ms`
    means: tuple[float, ...]  # of each exit, [G + 1], ascending
    worst: tuple[float, ...] | None  # the 99th percentile of each exit, [G + 1]; None where only means are known
    source: str  # how they were determined
    precision: str | None = None  # in which they were measured; None: they are the same in every precision

    def __post_init__(self) -> None:
        # Measured times of neighbouring exits may be in the wrong order.
        if not all(np.isfinite(value) and value > 0 for value in (*self.means, *(self.worst or ()))):
            raise CalibrationError(f"the {self.quantity} of every exit must be a positive number, not {self.means}")


def require_in_reach(
    costs: Costs, budget: float | None, deadline: float | None = None, cheapest: float | None = None
) -> None:
    """Refuse a mean budget or a deadline for the 99th percentile, in the unit of the costs, that no setting keeps.

    The smallest mean of any setting is by default that of the cheapest exit. Raises CalibrationError: one of the two
    cannot be reached, or no percentiles are known for the deadline.
    """
    if deadline is not None:
        last_in_time(costs, deadline)
    cheapest = min(costs.means) if cheapest is None else cheapest
    if budget is not None and not cheapest <= highest(budget):
        raise CalibrationError(
            f"{costs.quantity}: a mean of {budget:g} {costs.unit} is not reachable: the cheapest setting costs "
            f"{cheapest:.4g} {costs.unit}, the first exit {costs.means[0]:.4g} ({costs.source})"
        )


def highest(budget: float) -> float:
    """The largest mean that counts as within a budget: a mean of equal costs may be rounded above them."""
    return budget * (1 + _ROUNDING)


def last_in_time(costs: Costs, deadline: float) -> int:
    """The last exit whose 99th percentile is within a deadline, 0 to G.

    Images that exit there or earlier exceed the deadline as rarely as these percentiles hold for a frame. Raises
    CalibrationError: not even the first exit is in time, or no percentiles are known.
    """
    if costs.worst is None:
        raise CalibrationError(f"a deadline needs the 99th percentile of each exit's {costs.quantity}: {costs.source}")
    late = [value > deadline for value in costs.worst]
    if late[0]:
        raise CalibrationError(
            f"a deadline of {deadline:g} {costs.unit} is not reachable: the 99th percentile of the first exit, which "
            f"every image passes, is {costs.worst[0]:.4g} {costs.unit} ({costs.source})"
        )
    return late.index(True) - 1 if any(late) else len(late) - 1


def spend(variants: Sequence[ExitArrays], costs: Costs, budget: float, path: Path | None = None) -> tuple[float, ...]:
    """The thresholds that spend most of a mean budget, in the unit of the costs, without exceeding it.

    The variants are the precisions over the same images, with confidence scores as gates; the most expensive one
    counts. The path has thresholds towards cheaper ones, [T, G]; by default one for all exits, at every value of the
    scores.

    Raises CalibrationError: the budget is below the cost of the cheapest setting.
    """
    steps, prices = (levels(variants) if path is None else path), np.array(costs.means)
    means = np.concatenate(
        [
            np.max([prices[exits_along(each.gates, steps[at : at + _AT_ONCE])].mean(axis=0) for each in variants], 0)
            for at in range(0, len(steps), _AT_ONCE)
        ]
    )
    require_in_reach(costs, budget, cheapest=float(means.min()))
    within = np.flatnonzero(means <= highest(budget))
    return tuple(map(float, steps[within[int(means[within].argmax())]]))


def levels(variants: Sequence[ExitArrays]) -> Path:
    """One threshold for all exits, at each value at which some image changes its exit, falling: [T, G]."""
    reached = [np.maximum.accumulate(each.gates, axis=1).ravel() for each in variants]
    values = np.unique(np.concatenate(reached).astype(np.float64))
    if len(values) > _MOST_STEPS:
        values = np.unique(np.quantile(values, np.linspace(0, 1, _MOST_STEPS)))
    return same_for_all(variants[0].gates.shape[1], [NEVER, *values[::-1].tolist(), 0.0])
