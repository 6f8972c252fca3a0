"""What each way to guarantee at most 1% of harmful exits saves: MACs counted, milliseconds measured on this device.

    python experiments/savings.py BUNDLE OUTPUTS.npz BENCHMARK.json [SPLITS]

OUTPUTS.npz is what `gfnet-dynn calibrate BUNDLE IMAGES … --outputs OUTPUTS.npz` kept, BENCHMARK.json what `gfnet-dynn
benchmark BUNDLE IMAGES … --json BENCHMARK.json` measured. Of 100 random halves, thresholds are found on one and spent
on the other; where a method refuses, the full network runs and nothing is saved. Beside the halves, the same with all
images, which shows what more images bring: there is no other half then, and only savings are told. A threshold for
each exit is held against one for all, split by split, where a method offers both. `--risk-limit SHARE` takes
another limit. Prints JSON; `--write NAME` stores it as docs/results/NAME.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import write_figures
from targets import request_of

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.calibration.costs import from_benchmark, macs
from gfnet_dynn.calibration.outputs import Outputs, load_outputs
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.search import find_policy
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import ExitArrays, first_exit
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import COUNTING, GUARANTEED, Method, RiskTarget
from gfnet_dynn.guarantees.risk import risk_of
from gfnet_dynn.units import parse_share, percent

METHODS: tuple[Method, ...] = (*GUARANTEED, "conformal", "naive")

Rows = npt.NDArray[np.intp]


def spend(
    outputs: Outputs, request: CalibrationRequest, costs: Costs, rows: Rows, seen_on: ExitArrays
) -> tuple[npt.NDArray[np.intp], float] | str:
    """Exits and harm of images by thresholds that others gave; why not, where those cannot support it."""
    some = replace(outputs, precisions={name: each.take(rows) for name, each in outputs.precisions.items()})
    try:
        found = find_policy(some, request, costs)
    except CalibrationError as error:
        return str(error)
    exits = first_exit(seen_on.gates, found.policy.thresholds)
    losses = risk_of(seen_on, "harmful-exits").losses[np.arange(len(exits)), exits]
    return exits, float(losses.mean())


def saved(macs_spent: npt.NDArray[np.float64], ms_spent: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Mean savings, from shares of the full network's cost."""
    return {"saved_macs": round(1 - float(macs_spent.mean()), 4), "saved_ms": round(1 - float(ms_spent.mean()), 4)}


def judge(
    outputs: Outputs, precision: str, target: RiskTarget, costs: tuple[Costs, Costs], splits: int
) -> list[dict[str, Any]]:
    """One threshold for all exits, and one for each: of all images, and of halves."""
    # The milliseconds are of the fastest precision, so the exits must be too.
    seen, count = outputs.precisions[precision], outputs.images
    counted, timed = (np.array(each.means) / each.means[-1] for each in costs)
    rows: list[dict[str, Any]] = []
    spent = {}
    kinds = (False, True) if target.method in COUNTING else (False,)
    for per_exit in kinds:
        request = request_of(target, per_exit=per_exit)
        alone = spend(outputs, request, costs[0], np.arange(count), seen)
        all_costs, harms, refusals = [], [], []
        for seed in range(splits):
            shuffled = np.random.default_rng(seed).permutation(count)
            other = seen.take(shuffled[count // 2 :])
            found = spend(outputs, request, costs[0], shuffled[: count // 2], other)
            if isinstance(found, str):
                refusals.append(found)
                all_costs.append((1.0, 1.0))
            else:
                exits, harm = found
                all_costs.append((float(counted[exits].mean()), float(timed[exits].mean())))
                harms.append(harm)
        spent[per_exit] = np.array(all_costs)
        halves = {
            **saved(*spent[per_exit].T),
            "refused": len(refusals) / splits,
            "refusal": refusals[0] if refusals else None,
            "harmful_on_the_other_half": round(float(np.mean(harms)), 5) if harms else None,
        }
        of_all = {"refusal": alone} if isinstance(alone, str) else saved(counted[alone[0]], timed[alone[0]])
        thresholds = "one for each exit" if per_exit else "one for all"
        rows.append({"method": target.method, "thresholds": thresholds, "halves": halves, "all_images": of_all})
    if True not in spent:
        return rows
    dearer = spent[True][:, 0] - spent[False][:, 0]
    rows[1]["halves"]["dearer_than_one_for_all"] = round(float((dearer > 0).mean()), 4)
    rows[1]["halves"]["dearer_by_at_most"] = round(float(max(0.0, dearer.max())), 4)
    return rows


def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("outputs", type=Path)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("splits", type=int, nargs="?", default=100)
    parser.add_argument("--risk-limit", type=parse_share, default=0.01)
    parser.add_argument("--write")
    given = parser.parse_args()
    bundle = read_bundle(find_bundle(given.bundle))
    outputs = load_outputs(given.outputs, bundle)
    engine = outputs.engine.split()[0]
    costs = (macs(bundle.manifest), from_benchmark(given.benchmark, bundle.manifest, "latency", engine=engine))
    precision = costs[1].precision
    assert precision
    targets = [RiskTarget("harmful-exits", given.risk_limit, 0.95, method) for method in METHODS]
    named = f"{given.bundle} {given.outputs.name} {given.benchmark.name} {given.splits}"
    described = {
        "command": f"python experiments/savings.py {named} --risk-limit {percent(given.risk_limit)}",
        "source": f"shares of the full network's cost; MACs {costs[0].source}; ms {costs[1].source}",
        "images": outputs.images,
        "harmful_exits_at_most": given.risk_limit,
        "confidence": 0.95,
        "exits_ms": costs[1].means,
        "exits_mmacs": costs[0].means,
        "rows": [row for target in targets for row in judge(outputs, precision, target, costs, given.splits)],
    }
    write_figures(described, given.write)


if __name__ == "__main__":
    main()
