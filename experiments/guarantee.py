"""Whether guaranteed risks are kept: calibration sets drawn from a simulated population whose every risk is known.

    python experiments/guarantee.py [DRAWS]

For each method, limit, confidence level and number of images it counts the draws in which the TRUE risk of the
thresholds that were found is above the limit. A method that guarantees may fail in a share of the draws of 1 minus the
confidence level, up to the binomial error of so many; picking the cheapest threshold that looks good is shown beside
it. A refusal keeps the full network and breaks none. Thresholds of each exit's own are found as `gfnet-dynn calibrate
--per-exit` does: a path on some of the images, two tests that share the level. Writes docs/results/guarantee.json; with
500 draws it takes some ten minutes on one core.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from figures import write_figures
from targets import LEVELS, LIMITS, all_targets, request_of

from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.search import find_policy
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import NEVER, ExitArrays, first_exit
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import GUARANTEED, RiskTarget, control
from gfnet_dynn.guarantees.paths import exits_along, same_for_all, values_at
from gfnet_dynn.guarantees.risk import risk_of

SIZE, CLASSES = 40_000, 5
COSTS = (0.2, 0.4, 0.7, 1.0)
UNITS = Costs("cost", "of the full network's", COSTS, None, "made up")
GRID = (NEVER, *np.linspace(1, 0, 60).tolist())
PATH = same_for_all(len(COSTS) - 1, GRID)
COUNTS = (200, 1000, 5000)


def population() -> ExitArrays:
    """Later exits are better, hard images are worse, gates know it roughly."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, SIZE)
    hardness = generator.beta(1.2, 3.0, SIZE)
    logits, gates = np.zeros((SIZE, 4, CLASSES), np.float32), np.zeros((SIZE, 3), np.float32)
    for index, skill in enumerate((0.9, 0.6, 0.4, 0.3)):
        right = generator.random(SIZE) > skill * hardness**1.5
        said = np.where(right, labels, (labels + generator.integers(1, CLASSES, SIZE)) % CLASSES)
        logits[np.arange(SIZE), index, said] = 3
        if index < 3:
            gates[:, index] = np.clip(1 - hardness + generator.normal(0, 0.1, SIZE), 0, 1) ** (1 + skill)
    return ExitArrays(logits, gates, labels)


Found = Callable[[ExitArrays], tuple[float, float]]
"""From drawn images to the TRUE risk of the thresholds found, and their mean cost."""


def one_for_all(everyone: ExitArrays, target: RiskTarget) -> Found:
    """One threshold for all exits; its true risks are looked up."""
    exits = exits_along(everyone.gates, PATH)
    truth = dict(zip(GRID, values_at(risk_of(everyone, target.risk).losses, exits).mean(axis=0), strict=True))

    def found(drawn: ExitArrays) -> tuple[float, float]:
        guarantee = control(drawn, COSTS, target, PATH)
        return float(truth[guarantee.thresholds[0]]), guarantee.mean_cost

    return found


def one_for_each(everyone: ExitArrays, target: RiskTarget) -> Found:
    """A threshold for each exit, as a user gets it."""
    losses = risk_of(everyone, target.risk).losses
    request = request_of(target, per_exit=True)

    def found(drawn: ExitArrays) -> tuple[float, float]:
        made = find_policy(Outputs({"fp32": drawn}, "", "", ""), request, UNITS)
        exits = first_exit(everyone.gates, made.policy.thresholds)
        return float(losses[np.arange(SIZE), exits].mean()), made.point("fp32").mean_cost

    return found


def judge(
    everyone: ExitArrays, target: RiskTarget, count: int, draws: int, *, per_exit: bool = False
) -> dict[str, Any]:
    """One row: how often the guarantee was broken, and what was saved."""
    find = (one_for_each if per_exit else one_for_all)(everyone, target)
    broken, refused, costs, risks = 0, 0, [], []
    for seed in range(draws):
        rows = np.random.default_rng([count, seed]).integers(0, SIZE, count)
        try:
            risk, cost = find(everyone.take(rows))
        except CalibrationError:
            refused += 1
            risk, cost = 0.0, 1.0
        broken += risk > target.limit
        costs.append(cost)
        risks.append(risk)
    allowed = target.alpha + 2 * math.sqrt(target.alpha * target.confidence / draws)
    return {
        "method": target.method,
        "thresholds": "one for each exit" if per_exit else "one for all",
        "risk": target.risk,
        "risk_limit": target.limit,
        "confidence": target.confidence,
        "images": count,
        "broken": round(float(broken) / draws, 4),
        "allowed": round(allowed, 4) if target.method in GUARANTEED else None,
        "refused": round(refused / draws, 4),
        "mean_true_risk": round(float(np.mean(risks)), 5),
        "mean_cost": round(float(np.mean(costs)), 4),
    }


def main() -> None:
    """All rows."""
    draws, everyone, rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500, population(), []
    asked = [(target, count, False) for target, count in itertools.product(all_targets(), COUNTS)]
    asked += [
        (RiskTarget("harmful-exits", limit, confidence, "exact"), count, True)
        for limit, confidence, count in itertools.product(LIMITS, LEVELS, COUNTS[:2])
    ]
    for target, count, per_exit in asked:
        rows.append(judge(everyone, target, count, draws, per_exit=per_exit))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    kept = all(row["broken"] <= row["allowed"] for row in rows if row["allowed"] is not None)
    described = {
        "command": f"python experiments/guarantee.py {draws}",
        "what": "share of draws whose true risk is above the limit; simulated population, true risks known exactly",
        "draws": draws,
        "every_guarantee_kept": kept,
        "rows": rows,
    }
    write_figures(described, "guarantee")


if __name__ == "__main__":
    main()
