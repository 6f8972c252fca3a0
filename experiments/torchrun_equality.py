"""Short runs of all stages in one process and, under torchrun, in two: the same accuracies, and does none hang?

    python experiments/torchrun_equality.py UCM [PAIRS] [RUNS] [--write torchrun]

1. For each of PAIRS seeds, `gfnet-dynn train` runs in one process and in two, on the CPU, with the same batch and one
   thread a process. Then both networks answer the images of `val`, which nothing was chosen on.
2. RUNS shorter runs of two processes; one that takes longer than TIMEOUT_S counts as hung.

Reported is the difference of the accuracies, two processes less one, over the pairs: one image of n is 100/n points, so
that single runs on few images cannot tell half a point. Rounding differs, as sums are made in another order: gradient
steps amplify it little, the closed-form refits of the classifiers more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from figures import arguments, write_figures

from gfnet_dynn.data.scenes import prepare
from gfnet_dynn.data.split import read_split
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.system.machine import processor
from gfnet_dynn.train.runs.run_folder import remembered_source
from gfnet_dynn.train.runs.start import trained_net

PAIR = ("--recipe", "lite0", "--input-size", "64", "--batch", "32", "--num-epoch", "2", "--backbone-epochs", "3")
SHORT = ("--model", "gfnet-96x8", "--exits", "1,3", "--input-size", "32", "--num-epoch", "1", "--no-refit")
TIMEOUT_S = 400.0
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}  # 97.5% quantile, by number of pairs


def train(data: Path, seed: int, output: Path, options: Sequence[str], *, two: bool) -> bool:
    """Train one run; whether it has ended in time."""
    command = [
        *(sys.executable, *(TWO if two else ()), "-m", "gfnet_dynn", "train", str(data), *options),
        *("--seed", str(seed), "--threads", "1", "--device", "cpu", "--precision", "32-true"),
        *("--output", str(output), "--no-tensorboard"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def accuracies(output: Path) -> npt.NDArray[np.float64]:
    """Of each exit on the images of `val`, 0 to 1, [G + 1]."""
    (record,) = output.glob("*/run.json")
    layout = RunLayout(record.parent)
    checkpoint = load_checkpoint(layout.model())
    split = read_split(layout.split)
    source = remembered_source(layout.folder)
    data = prepare(source, checkpoint.spec.input, split.settings, output / "splits", ignore_progress)
    net = trained_net(checkpoint, checkpoint.spec, layout.model())
    arrays = collect(net, data.evaluation_loader(split.report_part).in_order(64, torch.device("cpu")))
    found: npt.NDArray[np.float64] = arrays.correct.mean(axis=0)
    return found


def interval(differences: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Mean over the pairs, its 95% interval, and the largest of a single pair, in percentage points."""
    points = 100 * differences
    error = STUDENT_T[len(points)] * points.std(ddof=1) / np.sqrt(len(points))
    return {
        "mean": round(float(points.mean()), 3),
        "interval": [round(float(points.mean() + sign * error), 3) for sign in (-1, 1)],
        "largest": round(float(np.abs(points).max()), 3),
    }


def pair(data: Path, seed: int) -> npt.NDArray[np.float64]:
    """Accuracies in one process and in two, [2, G + 1]."""
    found = []
    for two in (False, True):
        with TemporaryDirectory() as place:
            if not train(data, seed, Path(place), PAIR, two=two):
                sys.exit(f"a run has not ended within {TIMEOUT_S} s")
            found.append(accuracies(Path(place)))
    sys.stderr.write(f"seed {seed}: {found}\n")
    return np.array(found)


def hangs(data: Path, seed: int) -> bool:
    """Whether a short run of two processes does not end."""
    with TemporaryDirectory() as place:
        ended = train(data, seed, Path(place), SHORT, two=True)
    sys.stderr.write(f"short run {seed}: {'ended' if ended else 'hung'}\n")
    return not ended


def main() -> None:
    """Train all and store the figures."""
    given = arguments("data", pairs=5, runs=20)
    pairs = np.array([pair(given.data, seed) for seed in range(given.pairs)])
    differences = pairs[:, 1] - pairs[:, 0]
    figures = {
        "command": f"python experiments/torchrun_equality.py UCM {given.pairs} {given.runs} --write torchrun",
        "processor": f"{processor()}, one thread a process, torch {torch.__version__}",
        "pairs": {
            "what": "top-1 on val, two processes less one, in percentage points; 95% intervals over seeds; measured",
            "options": " ".join(PAIR),
            "seeds": given.pairs,
            "accuracy": {name: pairs[:, index].mean(axis=0).tolist() for index, name in enumerate(("one", "two"))},
            "difference_pp": {
                "mean of the exits": interval(differences.mean(axis=1)),
                **{f"exit {index + 1}": interval(each) for index, each in enumerate(differences.T)},
            },
        },
        "runs": {
            "options": " ".join(SHORT),
            "of_two_processes": given.runs,
            "hung": sum(hangs(given.data, seed) for seed in range(given.runs)),
        },
    }
    write_figures(figures, given.write)


if __name__ == "__main__":
    main()
