"""The cheapest thresholds whose risk is within a limit, with a stated confidence level.

Thresholds are tested along a path, from the full network towards the first exit, each step at significance level α = 1
minus the confidence level, until one fails (fixed-sequence testing). With probability at least 1 − α over the
calibration images, the risk of all thresholds that passed is within the limit; the cheapest of them are taken. Where a
network has several precisions to cover, a step passes only if it does in each, which needs no correction of the level:
the guarantee then holds for whichever of them runs. Risks are against the full network of the first precision, fp32.
Sources: Angelopoulos et al., Learn then test, arXiv 2110.01052; Bates et al., arXiv 2101.02703; Angelopoulos et al.,
Conformal risk control, arXiv 2208.02814 (in expectation).

The guarantee holds for images from the distribution of the calibration images, independent of each other and of
training.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.guarantees.paths import Path, exits_along, same_for_all, values_at
from gfnet_dynn.guarantees.risk import Losses, Risk, RiskName, betting_p, exact_p, hoeffding_bentkus_p, risk_of
from gfnet_dynn.units import percent

Method = Literal["exact", "hoeffding-bentkus", "betting", "conformal", "naive"]

GUARANTEED: tuple[Method, ...] = ("exact", "hoeffding-bentkus", "betting")
"""Methods with a confidence level; `conformal` limits the expected risk, `naive` guarantees nothing."""

COUNTING: tuple[Method, ...] = ("exact", "hoeffding-bentkus")
"""Of these, those whose p-value for losses of 0 and 1 depends on their number alone."""

ZERO_OR_ONE: tuple[RiskName, ...] = ("harmful-exits", "error", "disagreement")
"""Risks that count images."""

_AT_ONCE = 50  # steps; none after the first that fails is needed
_MOST_IMAGES = 10_000_000
_LEAST_CONFIDENCE = 0.5


@dataclass(frozen=True)
class RiskTarget:
    """A risk, the limit of its mean in (0, 1), the confidence level in [0.5, 1), and how thresholds are tested."""

    risk: RiskName
    limit: float
    confidence: float = 0.95
    method: Method = "betting"

    def __post_init__(self) -> None:
        if not 0 < self.limit < 1:
            raise OptionError(f"--risk-limit must be above 0% and below 100%, not {percent(self.limit)}")
        if not _LEAST_CONFIDENCE <= self.confidence < 1:
            raise OptionError(
                f"--confidence must be at least {percent(_LEAST_CONFIDENCE)} and below 100%, not "
                f"{percent(self.confidence)}: a guarantee that fails more often than it holds is none"
            )
        if self.method in ("exact", "conformal") and self.risk == "accuracy-drop":
            raise OptionError(
                f"--method {self.method} needs losses that are never negative: take betting, or --risk harmful-exits, "
                "which is never below the accuracy drop"
            )
        if self.method == "exact" and self.risk == "brier":
            raise OptionError("--method exact needs losses of 0 and 1, which Brier scores are not: take betting")

    @property
    def alpha(self) -> float:
        """Probability with which the guarantee may fail."""
        return 1 - self.confidence

    def __str__(self) -> str:
        """Such as ``harmful exits at most 1% with 95% confidence``."""
        limit = f"{self.limit:g}" if self.risk == "brier" else percent(self.limit)
        unit = f"{round(100 * self.limit, 6):g} pp" if self.risk == "accuracy-drop" else limit
        suffix = f"with {percent(self.confidence)} confidence"
        if self.method in ("conformal", "naive"):
            suffix = (
                "in expectation" if self.method == "conformal" else "on the calibration images, without a guarantee"
            )
        return f"{self.risk.replace('-', ' ').replace('brier', 'Brier score')} at most {unit} {suffix}"


@dataclass(frozen=True)
class Guarantee:
    """Thresholds that keep a target."""

    target: RiskTarget
    thresholds: tuple[float, ...]  # of each early exit, [G]
    risk: float  # mean loss on the calibration images; the largest of the precisions
    mean_cost: float  # on them, in the unit of the costs; the largest of the precisions
    images: int  # n


def control(
    precisions: ExitArrays | Mapping[str, ExitArrays],
    costs: Sequence[float],
    target: RiskTarget,
    path: Path | None = None,
) -> Guarantee:
    """Find the cheapest thresholds that keep a target.

    The precisions are all exits over calibration images, on which nothing was trained or chosen: of one network, or by
    name of each precision to cover; the full network of the first, fp32, is the reference of risks. Costs are of each
    exit, [G + 1], ascending, in any unit. The path has thresholds towards cheaper ones, [T, G], fixed without these
    images; by default the same for all exits.

    Raises CalibrationError: logits or gates are not numbers, or the images cannot support the target; says how many
    would, and in which precision.
    """
    named = {"": precisions} if isinstance(precisions, ExitArrays) else dict(precisions)
    networks = list(named.values())
    if not all(each.finite.all() for each in networks):
        raise CalibrationError("some logits or gates of the calibration images are not numbers: check the network")
    steps, best = same_for_all(networks[0].gates.shape[1]) if path is None else path, None
    prices = np.asarray(costs, np.float64)
    risks = [risk_of(each, target.risk, networks[0]) for each in networks]
    chains = [_tested(each, risk, target, steps) for each, risk in zip(networks, risks, strict=True)]
    for step, tested in enumerate(zip(*chains, strict=True)):
        means = [float(losses.mean()) for _, losses, _ in tested]
        if not all(passed for _, _, passed in tested):
            if best is None:
                worst = int(np.argmax(means))
                name, supported = list(named)[worst], tested[0][2]
                refusal = _refusal(tested[worst][1], risks[worst], target, name)
                raise CalibrationError(refusal, name if supported else None)
            break
        mean_cost = max(float(prices[exits].mean()) for exits, _, _ in tested)
        if best is None or mean_cost <= best.mean_cost:
            thresholds = tuple(map(float, steps[step]))
            best = Guarantee(target, thresholds, max(means), mean_cost, len(networks[0].labels))
    assert best is not None
    return best


def default_method(risk: RiskName) -> Method:
    """The most powerful test: none is better than the exact one where losses are 0 and 1."""
    return "exact" if risk in ZERO_OR_ONE else "betting"


def unused_level(images: int, target: RiskTarget) -> float:
    """The part of the significance level that a test by counting cannot use: n images allow only so many p-values.

    Rejecting at the level errs no more often than at the largest possible p-value below it, so the rest may be spent on
    another test of the same guarantee, and this test finds what it would find alone. The target is by `exact` or
    `hoeffding-bentkus`, of a risk whose losses are 0 or 1.
    """
    risk = Risk(np.empty((0, 0)), 0.0, 1.0)

    def p_value(lost: int) -> float:
        return float(p_values((np.arange(images) < lost)[:, None].astype(np.float64), risk, target)[0])

    fail = bisect_right(range(images + 1), target.alpha, key=p_value)
    return target.alpha - (p_value(fail - 1) if fail else 0.0)


def _tested(
    arrays: ExitArrays, risk: Risk, target: RiskTarget, path: Path
) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], bool]]:
    """For each step the exits and losses of all images, and whether it passes by itself."""
    worst = np.full(len(arrays.labels), risk.low)
    for start in range(0, len(path), _AT_ONCE):
        exits = exits_along(arrays.gates, path[start : start + _AT_ONCE])
        losses = tested = values_at(risk.losses, exits)
        if target.method == "conformal":
            # Conformal control needs losses that only grow towards cheaper thresholds; the true ones are no larger.
            tested = np.maximum.accumulate(np.column_stack((worst, losses)), axis=1)[:, 1:]
            worst = tested[:, -1]
        passed = _keep(tested, risk, target)
        for column in range(exits.shape[1]):
            yield exits[:, column], losses[:, column], bool(passed[column])


def _keep(losses: npt.NDArray[np.float64], risk: Risk, target: RiskTarget) -> npt.NDArray[np.bool_]:
    """Whether each setting keeps the target: [N, T] → [T]."""
    if target.method == "naive":
        return np.asarray(losses.mean(axis=0) <= target.limit)
    if target.method == "conformal":
        return np.asarray((losses.sum(axis=0) + risk.high) / (len(losses) + 1) <= target.limit)
    return np.asarray(p_values(losses, risk, target) <= target.alpha)


def p_values(losses: Losses, risk: Risk, target: RiskTarget) -> npt.NDArray[np.float64]:
    """P-value of "the risk is above the limit" for each setting: [N, T] → [T]."""
    span = risk.high - risk.low
    scaled, limit = (losses - risk.low) / span, (target.limit - risk.low) / span
    if target.method == "betting":
        return betting_p(scaled, limit, target.alpha)
    return (exact_p if target.method == "exact" else hoeffding_bentkus_p)(scaled, limit)


def images_needed(risk: Risk, target: RiskTarget) -> int:
    """The fewest images with which the target can be kept at all: if no image loses anything.

    Raises CalibrationError: no number that one could gather.
    """

    def enough(count: int) -> bool:
        nothing_lost = np.full((count, 1), max(0.0, risk.low))
        return bool(_keep(nothing_lost, risk, target)[0])

    most = 1
    while not enough(most):
        most *= 2
        if most > _MOST_IMAGES:
            raise CalibrationError(
                f"no number of images up to {_MOST_IMAGES} supports a limit of {percent(target.limit)}"
            )
    return bisect_right(range(most), False, lo=max(1, most // 2), key=enough)


def _refusal(losses: npt.NDArray[np.float64], risk: Risk, target: RiskTarget, precision: str) -> str:
    """Why not even the full network, whose losses in one precision these are, keeps the target."""
    count, full = len(losses), float(losses.mean())
    network = f"the full network in {precision}" if precision else "the full network"
    if full >= target.limit:
        return (
            f"{target} cannot be guaranteed: on these {count} images {network} has {percent(full, 2)} already; allow "
            "more, or train a better network"
        )
    needed = images_needed(risk, target)
    if full > 0:
        needed = max(needed, math.ceil(count * (target.limit / (target.limit - full)) ** 2))
        return (
            f"{count} images cannot support {target}: about {needed} can, as {network} has {percent(full, 2)} already"
        )
    return f"{count} images cannot support {target}: at least {needed} are needed with --method {target.method}"
