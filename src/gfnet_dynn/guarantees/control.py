"""The cheapest thresholds whose risk is at most ε, with a stated certainty.

Thresholds are tested along a path, from the full network towards the first exit, each step at level δ, until one fails
(fixed-sequence testing). All that passed before have a risk of at most ε, with probability at least 1 − δ over the
calibration images; of them the cheapest is taken. Where a network has variants, such as precisions, a step passes only
where it does with each of them, which costs no certainty: then the guarantee holds for whichever one runs. Sources:
Angelopoulos et al., Learn then test, arXiv 2110.01052; Bates et al., arXiv 2101.02703; Angelopoulos et al., Conformal
risk control, arXiv 2208.02814 (in expectation).

The guarantee holds for images that come as the calibration images did, independently of each other and of training.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.guarantees.bounds import Losses, betting_p, exact_p, hoeffding_bentkus_p
from gfnet_dynn.guarantees.paths import Path, exits_along, losses_at, same_for_all
from gfnet_dynn.guarantees.risk import Risk, RiskName, risk_of

Method = Literal["exact", "hoeffding-bentkus", "betting", "conformal", "naive"]

GUARANTEED: tuple[Method, ...] = ("exact", "hoeffding-bentkus", "betting")
"""Methods that guarantee the risk with probability 1 − δ; `conformal` guarantees it in expectation, `naive` nothing."""

COUNTING: tuple[Method, ...] = ("exact", "hoeffding-bentkus")
"""Of these, those whose verdict on losses of 0 and 1 depends on their number alone."""

ZERO_OR_ONE: tuple[RiskName, ...] = ("harm", "error", "disagreement")
"""Risks that count images."""

_AT_ONCE = 50  # steps; after the first that fails none is looked at
_MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class RiskTarget:
    """What is to be guaranteed.

    Attributes:
        risk: which risk.
        epsilon: its limit, above 0.
        delta: probability with which the guarantee may fail.
        method: how it is tested.
    """

    risk: RiskName
    epsilon: float
    delta: float = 0.05
    method: Method = "betting"

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1:
            raise CalibrationError(f"the risk's limit must lie between 0 and 1, not {self.epsilon:g}")
        if not 0 < self.delta < 1:
            raise CalibrationError(f"the probability of failure must lie between 0 and 1, not {self.delta:g}")
        if self.method in ("exact", "conformal") and self.risk == "drop":
            raise CalibrationError(
                f"{self.method} needs losses that are never negative: ask for 'harm', which is never less than the drop"
            )
        if self.method == "exact" and self.risk == "brier":
            raise CalibrationError("exact needs losses of 0 and 1, which Brier's are not: ask for betting")


@dataclass(frozen=True)
class Guarantee:
    """Thresholds, and what is guaranteed of them.

    Attributes:
        target: what was asked for.
        thresholds: of each early exit, [G].
        risk: mean loss on the calibration images; of several variants the largest.
        mean_cost: on them, in the unit of the costs; likewise.
        images: n.
    """

    target: RiskTarget
    thresholds: tuple[float, ...]
    risk: float
    mean_cost: float
    images: int


def control(
    variants: ExitArrays | Sequence[ExitArrays], costs: Sequence[float], target: RiskTarget, path: Path | None = None
) -> Guarantee:
    """Find the cheapest thresholds that keep a guarantee.

    Args:
        variants: all exits over calibration images, on which nothing was trained or chosen; of one network, or of each
            variant of it over the same images.
        costs: cost up to and including each exit, [G + 1], ascending, in any unit.
        target: what to guarantee.
        path: thresholds towards cheaper ones, [T, G], fixed without looking at these images; by default the same for
            all exits.

    Raises:
        CalibrationError: logits or gates are not numbers, or the images cannot support the target; says how many would.
    """
    networks = [variants] if isinstance(variants, ExitArrays) else list(variants)
    require_numbers(networks)
    way, best = same_for_all(networks[0].gates.shape[1]) if path is None else path, None
    price = np.asarray(costs, np.float64)
    chains = [_tested(each, risk_of(each, target.risk), target, way) for each in networks]
    for step, tested in enumerate(zip(*chains, strict=True)):
        risks = [float(losses.mean()) for _, losses, _ in tested]
        if not all(passed for _, _, passed in tested):
            if best is None:
                worst = int(np.argmax(risks))
                raise CalibrationError(_refusal(tested[worst][1], risk_of(networks[worst], target.risk), target))
            break
        mean_cost = max(float(price[exits].mean()) for exits, _, _ in tested)
        if best is None or mean_cost <= best.mean_cost:
            thresholds = tuple(map(float, way[step]))
            best = Guarantee(target, thresholds, max(risks), mean_cost, len(networks[0].labels))
    assert best is not None
    return best


def default_method(risk: RiskName) -> Method:
    """The test that grants most: of losses that count images none is sharper than the exact one."""
    return "exact" if risk in ZERO_OR_ONE else "betting"


def unused_level(images: int, target: RiskTarget) -> float:
    """What a test that counts images leaves of its level: of n images only so many p-values can come.

    Rejecting at the level errs no more often than at the largest of them below it, so the rest may be spent on another
    test of the same guarantee, and this one finds what it would have found alone.

    Args:
        images: n.
        target: by `exact` or `hoeffding-bentkus`, of a risk whose losses are 0 or 1.
    """
    risk = Risk(np.empty((0, 0)), 0.0, 1.0)

    def p_value(lost: int) -> float:
        return float(p_values((np.arange(images) < lost)[:, None].astype(np.float64), risk, target)[0])

    fail = bisect_right(range(images + 1), target.delta, key=p_value)
    return target.delta - (p_value(fail - 1) if fail else 0.0)


def require_numbers(networks: Sequence[ExitArrays]) -> None:
    """Refuse outputs that are not numbers.

    Raises:
        CalibrationError: some are not.
    """
    if not all(np.isfinite(each.logits).all() and np.isfinite(each.gates).all() for each in networks):
        raise CalibrationError("some logits or gates of the calibration images are not numbers: check the network")


def _tested(
    arrays: ExitArrays, risk: Risk, target: RiskTarget, path: Path
) -> Iterator[tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], bool]]:
    """For each step the exits and losses of all images, and whether it keeps the guarantee by itself."""
    worst = np.full(len(arrays.labels), risk.low)
    for start in range(0, len(path), _AT_ONCE):
        exits = exits_along(arrays.gates, path[start : start + _AT_ONCE])
        losses = losses_at(risk, exits)
        if target.method == "conformal":
            # The risk of losses that only grow towards cheaper thresholds is controlled; the true ones are no larger.
            growing = np.maximum.accumulate(np.column_stack((worst, losses)), axis=1)[:, 1:]
            worst = growing[:, -1]
            passed = _keep(growing, risk, target)
        else:
            passed = _keep(losses, risk, target)
        for column in range(exits.shape[1]):
            yield exits[:, column], losses[:, column], bool(passed[column])


def _keep(losses: npt.NDArray[np.float64], risk: Risk, target: RiskTarget) -> npt.NDArray[np.bool_]:
    """Whether each setting keeps the guarantee: [N, T] → [T]."""
    if target.method == "naive":
        return np.asarray(losses.mean(axis=0) <= target.epsilon)
    if target.method == "conformal":
        return np.asarray((losses.sum(axis=0) + risk.high) / (len(losses) + 1) <= target.epsilon)
    return np.asarray(p_values(losses, risk, target) <= target.delta)


def p_values(losses: Losses, risk: Risk, target: RiskTarget) -> npt.NDArray[np.float64]:
    """For each setting how surely its risk is within the limit: [N, T] → [T]."""
    span = risk.high - risk.low
    scaled, limit = (losses - risk.low) / span, (target.epsilon - risk.low) / span
    tests: dict[str, Callable[[], npt.NDArray[np.float64]]] = {
        "exact": lambda: exact_p(scaled, limit),
        "hoeffding-bentkus": lambda: hoeffding_bentkus_p(scaled, limit),
        "betting": lambda: betting_p(scaled, limit, target.delta),
    }
    return tests[target.method]()


def images_needed(risk: Risk, target: RiskTarget) -> int:
    """The fewest images with which the target can be granted at all: as many as support it where nothing is lost.

    Raises:
        CalibrationError: no number that one could gather.
    """

    def enough(count: int) -> bool:
        nothing_lost = np.full((count, 1), max(0.0, risk.low))
        return bool(_keep(nothing_lost, risk, target)[0])

    most = 1
    while not enough(most):
        most *= 2
        if most > _MOST_IMAGES:
            raise CalibrationError(f"no number of images up to {_MOST_IMAGES} supports a limit of {target.epsilon:g}")
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most


def _refusal(losses: npt.NDArray[np.float64], risk: Risk, target: RiskTarget) -> str:
    """Why not even the full network, whose losses these are, can be guaranteed."""
    count = len(losses)
    wanted = f"a limit of {100 * target.epsilon:g} points for {target.risk}"
    sure = "" if target.method == "conformal" else f" with probability {1 - target.delta:g}"
    full = float(losses.mean())
    if full >= target.epsilon:
        return (
            f"{wanted} cannot be guaranteed{sure}: that of the full network is {100 * full:.2f} points on these {count} "
            "images already; allow more, or train a better network"
        )
    needed = images_needed(risk, target)
    if full > 0:
        spare = target.epsilon - full
        needed = max(needed, math.ceil(count * (target.epsilon / spare) ** 2))
        return f"{count} images cannot support {wanted}{sure}: some {needed} would, at the full network's {full:.3f}"
    return f"{count} images cannot support {wanted}{sure}: at least {needed} are needed, with {target.method}"
