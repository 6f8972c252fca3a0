"""The result of a calibration: the policy, its accuracy and cost, and what to compare it with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.reliability import ExitReliability, Ranked, draw_reliability, exit_reliability, rank_scores
from gfnet_dynn.calibration.search import FoundPolicy
from gfnet_dynn.exits import operate
from gfnet_dynn.reporting.table import Plotted, Table
from gfnet_dynn.uncertainty.intervals import PairedDifference, Proportion, paired_difference
from gfnet_dynn.units import percent, points
from gfnet_dynn.wording import counted


@dataclass(frozen=True)
class Expected:
    """The network by the policy in one precision, on the images that thresholds were tested on.

    Without labels, accuracy is the agreement with the full network in fp32.
    """

    accuracy: Proportion
    full_accuracy: Proportion  # of the full network in the same precision
    mean_mmacs: float
    mean_cost: float | None  # in the unit of the costs; None: not known in this precision
    exit_shares: tuple[float, ...]  # share of the images that takes each exit, [G + 1]
    against_fp32: PairedDifference | None  # of the full networks, over all calibration images; None for fp32
    policy_against_fp32: PairedDifference | None  # the same by the policy, over the tested images


@dataclass(frozen=True)
class CalibrationResult(Plotted):
    """All that a calibration found."""

    found: FoundPolicy
    expected: Mapping[str, Expected]  # by precision
    reliability: tuple[ExitReliability, ...]  # of each exit in fp32; empty without labels
    ranking: tuple[Ranked, ...]  # scores at the policy's mean cost; empty without labels, or where no image exits early
    macs: tuple[float, ...]  # of each exit, in millions
    labelled: bool
    not_default: str | None  # why the policy is not the bundle's default; None: it is
    not_covered: tuple[str, ...] = ()  # precisions of the bundle that the policy is not made for
    doubts: tuple[str, ...] = ()  # why the images may not be new to the network, though none was refused
    written: Mapping[str, Path] | None = None  # files, by what they hold

    def tables(self) -> Sequence[Table]:
        """The policy in each precision, differences of the precisions, the exits, and the scores."""
        made = [self._policy_table(), self._differences(), self._exits(), self._scores()]
        return [table for table in made if table.rows]

    def notes(self) -> Sequence[str]:
        """Guarantee, default, files, and how the numbers were determined."""
        policy, parts, costs = self.found.policy, self.found.parts, self.found.costs
        lines = ["guarantee: none on accuracy"]
        if target := self.found.request.target:
            against = "" if target.risk in ("error", "brier") else ", against the full network in fp32"
            lines = [f"guarantee: {target}{against}"]
        others = ", ".join(self.not_covered)
        lines.append(f"valid in {', '.join(self.expected)}" + (f"; --all-precisions adds {others}" if others else ""))
        if sets := policy.prediction_sets:
            lines.append(f"prediction sets: {percent(sets.coverage)} coverage, n = {len(parts.later)}")
        if rule := policy.unknown_rule:
            rate = percent(rule.false_alarms)
            images = parts.later if self.found.request.unknown_by == "both" else np.concatenate(astuple(parts))
            lines.append(f'answer "unknown": false-alarm rate at most {rate}, n = {len(images)}')
        if not self.labelled:
            lines.append(
                f"the images have no labels: {self._accuracy} is the share of images with the full network's class"
            )
        if costs.quantity != "MACs":
            lines.append(f"{costs.quantity}: {costs.source}")
        lines += self.doubts
        lines += [f"{kind}: {path}" for kind, path in (self.written or {}).items()]
        if self.not_default:
            lines.append(f"stored, but not the bundle's default: {self.not_default}")
        return lines

    def draw(self) -> Any:
        """Reliability of each exit."""
        return draw_reliability(self.reliability)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        found = self.found
        guarantee = {"guarantee_tested": asdict(found.guarantee)} if found.guarantee else {}
        guarantee.get("guarantee_tested", {}).pop("thresholds", None)  # they are the policy's
        return {
            "policy": found.policy.to_dict(),
            "default": self.not_default is None,
            "images": len(found.parts.test),
            "labelled": self.labelled,
            "precision": found.precision,
            "expected": {name: asdict(each) for name, each in self.expected.items()},
            "full_mmacs": self.macs[-1],
            "costs": asdict(found.costs),
            "reliability": [asdict(each) for each in self.reliability],
            "scores_at_equal_cost": [asdict(each) for each in self.ranking],
            "notes": list(self.notes()),
            **guarantee,
        }

    @property
    def _accuracy(self) -> str:
        return "accuracy" if self.labelled else "agreement"

    def _policy_table(self) -> Table:
        found, unit = self.found, self.found.costs.unit
        timed = unit != "M MACs"
        headings = ("precision", f"{self._accuracy} (95% CI)", "full network", "M MACs", "of full")
        rows = []
        for name, each in self.expected.items():
            accuracies = (str(each.accuracy), percent(each.full_accuracy.value, 1))
            macs = (f"{each.mean_mmacs:.4g}", percent(each.mean_mmacs / self.macs[-1], 0))
            cost = "–" if each.mean_cost is None else f"{each.mean_cost:.4g}"
            rows.append((name, *accuracies, *macs, *[cost] * timed))
        title = f"Policy {found.policy.name}: {found.policy.score} at {_thresholds(found.policy.thresholds)}"
        caption = f"On the n = {len(found.parts.test)} images that thresholds were tested on."
        if len(found.parts.fit):
            caption += f" {counted(len(found.parts.fit), 'other image')} fitted score or path."
        return Table(title, (*headings, *[unit] * timed), tuple(rows), caption)

    def _differences(self) -> Table:
        rows = []
        for name, each in self.expected.items():
            for what, difference in (("full network", each.against_fp32), ("policy", each.policy_against_fp32)):
                if difference:
                    interval = f"{points(difference.low)} to {points(difference.high)}"
                    counts = (difference.gained, difference.lost, difference.n)
                    rows.append((f"{name}, {what}", points(difference.difference), interval, *map(str, counts)))
        return Table("Against fp32", ("", self._accuracy, "95% CI", "gained", "lost", "n"), tuple(rows))

    def _exits(self) -> Table:
        costs, precision = self.found.costs, self.found.precision
        shares = self.expected[precision].exit_shares
        rows = []
        for each, cost, share in zip(self.reliability, costs.means, shares, strict=False):
            calibration = (percent(each.error, 1), f"{each.brier:.3f}")
            scaled = (f"{each.temperature:.2f}", percent(each.error_scaled, 1))
            rows.append((each.name, f"{cost:.4g}", percent(share, 0), str(each.accuracy), *calibration, *scaled))
        headings = ("exit", costs.unit, "share", "accuracy (95% CI)", "ECE", "Brier", "T", "ECE at T")
        n = self.reliability[0].accuracy.n if self.reliability else 0
        caption = (
            f"Share: of the n = {len(self.found.parts.test)} tested images, in {precision}. Accuracy, ECE and Brier "
            f"score: in fp32, if all of the n = {n} images that temperatures T were not fitted on took that exit."
        )
        return Table("Exits", headings, tuple(rows), caption)

    def _scores(self) -> Table:
        rows = []
        for each in self.ranking:
            against = f"{points(each.against_gate)} ± {100 * each.standard_error:.1f}"
            rows.append((each.score, percent(each.accuracy, 1), "–" if each.score == "gate" else against))
        cost = f"{self.found.point('fp32').mean_cost:.4g} {self.found.costs.unit}"
        caption = "In fp32, on seven tenths of the images, fitted on the others; ± one standard error."
        return Table(f"Scores, each at a mean of {cost}", ("score", "accuracy", "against gate"), tuple(rows), caption)


def make_result(found: FoundPolicy, outputs: Outputs, manifest: Manifest) -> CalibrationResult:
    """The figures of a policy, from the outputs that it was found from."""
    macs = tuple(each.macs / 1e6 for each in manifest.exits)
    fp32, costs, seed = outputs.precisions["fp32"], found.costs.means, found.request.seed
    spent, labelled = found.point("fp32").mean_cost, outputs.labelled
    ranking = rank_scores(fp32, costs, spent, seed) if labelled and spent < costs[-1] else []
    return CalibrationResult(
        found=found,
        expected={name: _expected(name, found, outputs, macs) for name in outputs.precisions},
        reliability=exit_reliability(fp32, manifest, seed) if labelled else (),
        ranking=tuple(ranking),
        macs=macs,
        labelled=labelled,
        not_default=_why_not_default(found, outputs, manifest),
        not_covered=tuple(name for name in manifest.precisions if name not in outputs.precisions),
    )


def _expected(precision: str, found: FoundPolicy, outputs: Outputs, macs: Sequence[float]) -> Expected:
    point, tested = found.point(precision), found.tested[precision]
    full, full_fp32 = outputs.precisions[precision].correct[:, -1], outputs.precisions["fp32"].correct[:, -1]
    correct, correct_fp32 = (found.point(each).predictions == found.tested[each].labels for each in (precision, "fp32"))
    return Expected(
        accuracy=Proportion.of(correct),
        full_accuracy=Proportion.of(tested.correct[:, -1]),
        mean_mmacs=float(np.array(macs)[point.exits].mean()),
        mean_cost=point.mean_cost if found.costs.precision in (None, precision) else None,
        exit_shares=point.shares,
        against_fp32=None if precision == "fp32" else paired_difference(full_fp32, full),
        policy_against_fp32=None if precision == "fp32" else paired_difference(correct_fp32, correct),
    )


def _why_not_default(found: FoundPolicy, outputs: Outputs, manifest: Manifest) -> str | None:
    """A policy that saves nothing, or is worse than another default in accuracy and cost, is no default."""
    point, costs = found.point(found.precision), found.costs
    if point.mean_cost >= costs.means[-1]:
        return f"it saves nothing, as its mean cost is that of the full network, {costs.means[-1]:.4g} {costs.unit}"
    default = next(each for each in manifest.policies if each.name != found.policy.name)
    arrays = outputs.precisions[found.precision].take(found.parts.test)
    other = operate(default.scores(arrays), costs.means, default.thresholds)
    if point.accuracy < other.accuracy and point.mean_cost > other.mean_cost:
        return (
            f"on the tested images the policy {default.name} is more accurate ({percent(other.accuracy, 1)}, not "
            f"{percent(point.accuracy, 1)}) and cheaper ({other.mean_cost:.4g} {costs.unit}, not {point.mean_cost:.4g})"
        )
    return None


def _thresholds(values: tuple[float, ...]) -> str:
    shown = ["never" if math.isinf(value) else f"{value:.4g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else ", ".join(shown)
