"""What calibration found, for people and as JSON: the policy, how far exits can be trusted, which score pays."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.ranking import Ranked, rank_scores
from gfnet_dynn.calibration.search import Calibrated, Rows, take
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.uncertainty.reliability import Bin, brier, equal_mass_error, fit_temperature, reliability_bins

_BINS = 10


@dataclass(frozen=True)
class ExitReliability:
    """How far the confidences of one exit can be trusted, on images that its temperature was not fitted to.

    Attributes:
        name: of the exit.
        accuracy: if every image left there, 0 to 1.
        error: expected calibration error, equal mass, 0 to 1.
        brier: 0 to 2.
        temperature: fitted on other images.
        error_scaled: as `error`, with it.
        bins: points of the reliability plot, without it.
    """

    name: str
    accuracy: float
    error: float
    brier: float
    temperature: float
    error_scaled: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class CalibrationReport:
    """All that a calibration found.

    Attributes:
        calibrated: the policy and its figures.
        exits: reliability of each exit.
        ranking: scores at the policy's mean cost; empty where it leaves no choice.
        macs: of each exit, in millions.
        precision: whose outputs reliability and ranking are of.
    """

    calibrated: Calibrated
    exits: tuple[ExitReliability, ...]
    ranking: tuple[Ranked, ...]
    macs: tuple[float, ...]
    precision: str

    @property
    def mean_mmacs(self) -> float:
        """Of the tested images, by the policy."""
        return float(np.array(self.macs)[self.calibrated.point.exits].mean())


def make_report(calibrated: Calibrated, outputs: Outputs, manifest: Manifest) -> CalibrationReport:
    """Everything beside the policy itself.

    Args:
        calibrated: the policy.
        outputs: from which it was found.
        manifest: of the bundle.
    """
    precision, arrays = next(iter(outputs.precisions.items()))
    half = np.random.default_rng(calibrated.order.seed).permutation(outputs.images)
    fitting, judged = np.sort(half[: len(half) // 2]), np.sort(half[len(half) // 2 :])
    exits = tuple(_reliability(arrays, index, way.name, fitting, judged) for index, way in enumerate(manifest.exits))
    price, spent = calibrated.order.costs.means, calibrated.point.mean_cost
    ranking = rank_scores(arrays, price, spent, calibrated.order.seed) if spent < price[-1] else []
    macs = tuple(way.macs / 1e6 for way in manifest.exits)
    return CalibrationReport(calibrated, exits, tuple(ranking), macs, precision)


def _reliability(arrays: ExitArrays, index: int, name: str, fitting: Rows, judged: Rows) -> ExitReliability:
    fitted, seen = take(arrays, fitting), take(arrays, judged)
    temperature = fit_temperature(fitted.logits[:, index], fitted.labels)
    plain, scaled = (softmax(seen.logits[:, index] / by) for by in (1.0, temperature))
    right = seen.correct[:, index]
    return ExitReliability(
        name=name,
        accuracy=float(right.mean()),
        error=equal_mass_error(plain.max(axis=1), right),
        brier=brier(plain, seen.labels),
        temperature=temperature,
        error_scaled=equal_mass_error(scaled.max(axis=1), right),
        bins=reliability_bins(plain.max(axis=1), right, _BINS),
    )


def sources(report: CalibrationReport) -> list[str]:
    """How each number came about."""
    calibrated = report.calibrated
    parts, costs = calibrated.parts, calibrated.order.costs
    fitted = f"; {len(parts.fit)} others served to fit score or path" if len(parts.fit) else ""
    later = f"; {len(parts.later)} others to make sets and alarms" if len(parts.later) else ""
    priced = "" if costs.quantity == "MACs" else f"{costs.quantity}: {costs.source}. "
    return [
        f"Expected: measured on the {len(parts.test)} images that thresholds were tested on{fitted}{later}.",
        f"{priced}MACs: counted from shapes.",
        f"Reliability: measured in {report.precision} on half of the images, temperatures fitted on the other half.",
        "Scores: all at the policy's mean cost, on seven tenths of the images, fitted on the others.",
    ]


def report_to_dict(report: CalibrationReport) -> dict[str, Any]:
    """As JSON values."""
    calibrated, point = report.calibrated, report.calibrated.point
    order = calibrated.order
    return {
        "policy": calibrated.policy.to_dict(),
        "expected": {
            "images": len(calibrated.parts.test),
            "accuracy": point.accuracy,
            "full_accuracy": calibrated.full_accuracy,
            "exit_shares": list(point.shares),
            "mean_cost": point.mean_cost,
            "cost_unit": order.costs.unit,
            "mean_mmacs": report.mean_mmacs,
            "full_mmacs": report.macs[-1],
        },
        "costs": {**asdict(order.costs)},
        "reliability": [asdict(each) for each in report.exits],
        "signals_at_equal_cost": [asdict(each) for each in report.ranking],
        "sources": sources(report),
    } | ({"promise_tested": _finite(asdict(calibrated.guarantee))} if calibrated.guarantee else {})


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "thresholds": [each if math.isfinite(each) else None for each in value["thresholds"]]}
