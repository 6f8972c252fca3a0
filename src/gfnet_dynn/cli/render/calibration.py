"""A calibration as tables for the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gfnet_dynn.calibration.report import CalibrationReport, sources
from gfnet_dynn.calibration.request import CalibrationRequest


def print_calibration(report: CalibrationReport, console: Console) -> None:
    """The guarantee, what to expect, reliability of each exit, and the ranking of scores."""
    calibrated, point = report.calibrated, report.calibrated.point
    order, policy = calibrated.order, calibrated.policy
    said = policy.guarantee.get("statement")
    lines = [f"policy {policy.name}: leave by {policy.score} at {_thresholds(policy.thresholds)}"]
    lines.append(f"guarantee: {said}" if said else f"guarantee: none of accuracy; {_met(order)}")
    lines.append(
        f"expected in {calibrated.precision}: {100 * point.accuracy:.1f} % right (full network "
        f"{100 * calibrated.full_accuracy:.1f} %), "
        f"{report.mean_mmacs:.1f} MMACs ({100 * report.mean_mmacs / report.macs[-1]:.0f} % of the full network's)"
        + ("" if order.costs.unit == "MMACs" else f", {point.mean_cost:.3g} {order.costs.unit} a frame")
    )
    names = [each.name for each in report.exits]
    if sets := policy.sets:
        bare = [name for name, value in zip(names, sets.quantiles, strict=True) if math.isinf(value)]
        lines.append(f"sets: hold the true class in {100 * sets.coverage:g} % of cases at each exit" + _too_few(bare))
    if known := policy.unknowns:
        bare = [name for name, value in zip(names, known.thresholds, strict=True) if math.isinf(value)]
        lines.append(f"unknown: at most {100 * known.false_alarms:g} % of images like these" + _too_few(bare))
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    exits = Table(title="Exits")
    for heading in (
        "exit",
        order.costs.unit,
        "leaving %",
        "top-1 %, all images",
        "ECE %",
        "Brier",
        "T",
        "ECE % with T",
    ):
        exits.add_column(heading, justify="right")
    for index, each in enumerate(report.exits):
        exits.add_row(
            Text(each.name),  # whatever brackets it has mean nothing
            f"{order.costs.means[index]:.4g}",
            f"{100 * point.shares[index]:.0f}",
            f"{100 * each.accuracy:.1f}",
            f"{100 * each.error:.1f}",
            f"{each.brier:.3f}",
            f"{each.temperature:.2f}",
            f"{100 * each.error_scaled:.1f}",
        )
    console.print(exits)
    if report.ranking:
        ranking = Table(title=f"Scores, each at {point.mean_cost:.4g} {order.costs.unit} on average")
        for heading in ("score", "top-1 %", "against the gate, points"):
            ranking.add_column(heading, justify="right")
        for score in report.ranking:
            against = "–" if score.score == "gate" else _difference(score.against_gate, score.standard_error)
            ranking.add_row(score.score, f"{100 * score.accuracy:.1f}", against)
        console.print(ranking)
    console.print("\n".join(sources(report)), markup=False, highlight=False)


def _met(order: CalibrationRequest) -> str:
    """Of a budget and a deadline, those that were asked for."""
    met = ["the budget is met on average"] if order.budget is not None else []
    return "; ".join([*met, "every image leaves in time"] if order.deadline is not None else met)


def _too_few(exits: list[str]) -> str:
    """Where nothing can be said: a set has all classes there, and no image is unknown."""
    return f"; too few images leave at {', '.join(exits)} to say anything there" if exits else ""


def _difference(value: float, error: float) -> str:
    return f"{100 * value:+.1f} ± {100 * error:.1f}"


def _thresholds(values: tuple[float, ...]) -> str:
    shown = ["never" if math.isinf(value) else f"{value:.4g}" for value in values]
    return shown[0] + " at every exit" if len(set(shown)) == 1 and len(shown) > 1 else ", ".join(shown)
