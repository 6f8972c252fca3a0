"""Whether a budget of milliseconds a frame is kept on images that it was not set on, on this device.

    python experiments/budgets_kept.py BUNDLE IMAGES [ROUNDS] [--write budgets_kept]

BUNDLE may be the name of a built-in model. IMAGES is a folder of classes that it has not learned from; of each class
some random images are for calibration, and as many are held out. Times every exit on some of the calibration images,
finds thresholds for budgets from just above the cheapest exit to just below the full network, then classifies the
held-out images one by one from file to label as `gfnet-dynn classify` does, all budgets in turns. Beside what was
realised stands what the thresholds spend on those images by the measured costs: what is left between the two is the
timing's own, not the policy's. For an idle machine, one thread. Prints JSON.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import arguments, write_figures
from subset import copy_some

from gfnet_dynn.benchmark.request import BenchmarkRequest
from gfnet_dynn.bundle.archive import read_bundle, write_bundle
from gfnet_dynn.bundle.builtin import find_bundle
from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration.costs import from_benchmark
from gfnet_dynn.calibration.outputs import Outputs, collect_outputs, find_calibration_images
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.search import find_policy
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.runtime import Classifier, load
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.system.storage import write_json
from gfnet_dynn.workflows.benchmarking import benchmark

SHARES = (-0.1, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the way from the cheapest exit to the full network; the first is out of reach."""
PER_CLASS = 60  # images for calibration, and as many held out
PLACE = Path("outputs")  # of what is there already


def measured(bundle: Path, images: Path, folder: Path) -> tuple[Costs, str]:
    """What each exit costs on this device, and the precision that is fastest."""
    file = folder / "benchmark.json"
    request = BenchmarkRequest(
        subject=str(bundle), images=(images,), engine=("onnxruntime",), energy_seconds=0, num_images=200, repeats=3
    )
    write_json(file, benchmark(request).to_dict())
    costs = from_benchmark(file, read_bundle(bundle).manifest, "latency")
    assert costs.precision
    return costs, costs.precision


def show(done: int, of: int) -> None:
    """How far it is."""
    sys.stderr.write(f"\r{done}/{of}")


def grant(outputs: Outputs, costs: Costs) -> tuple[list[dict[str, Any]], list[Policy]]:
    """A row for each budget, and the policies of those that are within reach."""
    cheapest, dearest = min(costs.means), costs.means[-1]
    rows: list[dict[str, Any]] = []
    policies = []
    for share in SHARES:
        row: dict[str, Any] = {"budget_ms": cheapest + share * (dearest - cheapest)}
        try:
            request = CalibrationRequest(
                bundle=PLACE, images=PLACE, benchmark=PLACE, max_ms=row["budget_ms"], name=f"budget {share:g}"
            )
            found = find_policy(outputs, request, costs)
        except CalibrationError as error:
            row["refused"] = str(error)
        else:
            policies.append(found.policy)
            row |= {"policy": found.policy.name, "ms_on_calibration": found.point(found.precision).mean_cost}
        rows.append(row)
    return rows, policies


def realise(
    rows: Sequence[dict[str, Any]], classifier: Classifier, files: list[Path], costs: Costs, rounds: int
) -> None:
    """Classify the held-out images under each budget, and write down what a frame took."""
    names = [way.name for way in classifier.manifest.exits]
    seen: list[list[float]] = [[] for _ in rows]
    for done in range(rounds + 1):
        for row, times in zip(rows, seen, strict=True):
            start = time.perf_counter()
            said = [classifier.classify(file, policy=row["policy"])[0] for file in files]
            times.append(1e3 * (time.perf_counter() - start) / len(files))
            row["ms_by_costs"] = float(np.array(costs.means)[[names.index(each.exit) for each in said]].mean())
        show(done, rounds)
    for row, times in zip(rows, seen, strict=True):
        row["ms_realised"] = statistics.median(times[1:])  # the first round warms up
        row["realised_over_budget"] = round(row["ms_realised"] / row["budget_ms"], 4)
        row["spent_over_budget"] = round(row["ms_by_costs"] / row["budget_ms"], 4)


def main() -> None:
    """Measure, set, spend."""
    given = arguments("bundle", "images", rounds=7)
    path = find_bundle(str(given.bundle))
    bundle = read_bundle(path)
    engine = make_engine("onnxruntime", EngineOptions(1))
    with tempfile.TemporaryDirectory() as folder:
        calibration, held_out = Path(folder) / "calibration", Path(folder) / "held_out"
        copy_some(given.images, (calibration, held_out), PER_CLASS)
        outputs = collect_outputs(bundle, find_calibration_images(calibration, bundle, on_step=show), engine, show)
        files = list(find_calibration_images(held_out, bundle, on_step=show).files)
        costs, precision = measured(path, calibration, Path(folder))
        rows, policies = grant(replace(outputs, precisions={precision: outputs.precisions[precision]}), costs)
        stored = {name: bundle.read(name) for name in bundle.manifest.files}
        target = write_bundle(
            Path(folder) / "budgets.gfd",
            replace(bundle.manifest, policies=(*policies, bundle.manifest.policy(FULL))),
            stored,
        )
        classifier = load(target, precision=precision, threads=1)
        realise([row for row in rows if "policy" in row], classifier, files, costs, given.rounds)
    described = {
        "command": f"python experiments/budgets_kept.py {given.bundle.name} EuroSAT/val {given.rounds}",
        "source": f"costs {costs.source}; realised: median over {given.rounds} rounds of the mean of a frame",
        "images": {"calibration": outputs.images, "held_out": len(files)},
        "exits_ms": costs.means,
        "rows": rows,
    }
    write_figures(described, given.write)


if __name__ == "__main__":
    main()
