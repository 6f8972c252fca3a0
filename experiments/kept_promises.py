"""Whether guarantees are kept on real outputs: thresholds found on one half of the images, risks seen on the other.

    python experiments/kept_promises.py OUTPUTS.npz [SPLITS]

OUTPUTS.npz was written by `gfnet-dynn calibrate BUNDLE IMAGES … --outputs OUTPUTS.npz`: all exits over images that the
network has neither learned from nor been selected on. Of 500 random halves, it counts those in which the risk of the
found thresholds on the other half is above the limit. That half is a sample too: its risk may be above the limit by
chance although the true one is not. Beside 1 minus the confidence level, what is allowed is the share of halves in
which a risk of just the limit would be seen above it, and the binomial error of so many splits; as halves of one set
overlap, this error is larger than stated. Sharper, as it allows for no such chance: all images are taken for the
population from which the first half was drawn, and their risk for the true one; what is allowed then is 1 minus the
confidence level and the binomial error. A refusal keeps the full network and breaks none. Prints JSON; `--write NAME`
stores it as docs/results/NAME.json.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from figures import arguments, write_figures
from targets import all_targets

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import ExitArrays, first_exit
from gfnet_dynn.guarantees.control import GUARANTEED, RiskTarget, control
from gfnet_dynn.guarantees.risk import binomial_tail, risk_of


def judge(arrays: ExitArrays, target: RiskTarget, splits: int) -> dict[str, Any]:
    """One row."""
    costs = np.linspace(0.2, 1, arrays.logits.shape[1])  # what is cheapest does not depend on their values
    above, broken, refused, reason, risks = 0, 0, 0, "", []
    losses = risk_of(arrays, target.risk).losses
    half = len(arrays.labels) // 2
    for seed in range(splits):
        rows = np.random.default_rng(seed).permutation(len(arrays.labels))
        try:
            found = control(arrays.take(rows[:half]), costs.tolist(), target)
        except CalibrationError as error:
            refused, reason = refused + 1, reason or str(error)
            continue
        of_each = losses[np.arange(len(rows)), first_exit(arrays.gates, found.thresholds)]
        risk = float(of_each[rows[half:]].mean())
        above += risk > target.limit
        broken += float(of_each.mean()) > target.limit
        risks.append(risk)
    # A true risk of just the limit, seen on a half: above it in at most about half of the cases.
    count = len(arrays.labels) - half
    by_chance = 1 - float(binomial_tail(count, target.limit)[math.floor(count * target.limit)])
    guarantees = target.method in GUARANTEED

    def with_error(share: float) -> float | None:
        return round(share + 2 * math.sqrt(share * (1 - share) / splits), 4) if guarantees else None

    return {
        "method": target.method,
        "risk": target.risk,
        "risk_limit": target.limit,
        "confidence": target.confidence,
        "images": half,
        "above_on_the_other_half": round(float(above) / splits, 4),
        "above_by_chance_at_the_limit": round(by_chance, 4),
        "allowed_above": with_error(target.alpha + target.confidence * by_chance),
        "broken_on_all_images": round(float(broken) / splits, 4),
        "allowed_broken": with_error(target.alpha),
        "refused": round(refused / splits, 4),
        "refusal": reason,
        "mean_risk_on_the_other_half": round(float(np.mean(risks)), 5) if risks else None,
    }


def main() -> None:
    """All rows."""
    given = arguments("outputs", splits=500)
    with np.load(given.outputs, allow_pickle=False) as stored:
        arrays = ExitArrays(stored["fp32_logits"], stored["fp32_gates"], stored["labels"])
    described = {
        "command": f"python experiments/kept_promises.py {given.outputs.name} {given.splits}",
        "source": "measured: risks seen on halves of held-out images",
        "images": len(arrays.labels),
        "rows": [judge(arrays, target, given.splits) for target in all_targets()],
    }
    write_figures(described, given.write)


if __name__ == "__main__":
    main()
