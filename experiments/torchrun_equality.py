"""Short runs of all stages in one process and, under torchrun, in two: the same accuracies, and does none hang?

    python experiments/torchrun_equality.py EUROSAT [SEEDS] [RUNS] [--write torchrun]

1. EuroSAT, 100 training images a class, for each of SEEDS seeds: `gfnet-dynn train` in one process and in two, on the
   CPU, with the same batch and one thread a process; and as a control in one process of two threads, which differs by
   rounding alone, too.
2. SyntheticScenes, 24 images a class: RUNS shorter runs of two processes with gradient steps in all stages; the first
   PAIRED have the same in one process beside them. One that takes longer than TIMEOUT_S counts as hung.

Both networks answer all images of `val`, which nothing was chosen on. Reported is the difference of the accuracies over
the seeds; 5,400 images and several seeds are needed to tell half a point.
"""

from __future__ import annotations

import shutil
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
from subset import copy_some

from gfnet_dynn.data.scenes import prepare
from gfnet_dynn.data.split import read_split
from gfnet_dynn.data.synthetic.generate import write_synthetic
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.system.machine import processor
from gfnet_dynn.train.runs.run_folder import remembered_source
from gfnet_dynn.train.runs.start import trained_net

REAL = (
    *("--recipe", "lite0", "--input-size", "64", "--exits", "10"),
    *("--backbone-epochs", "4", "--warmup-epochs", "1", "--num-epoch", "1"),
)
SHORT = (
    *("--model", "gfnet-96x8", "--exits", "1,3", "--input-size", "32", "--no-refit", "--lr", "3e-3"),
    *("--backbone-epochs", "3", "--warmup-epochs", "1", "--num-epoch", "2"),
)
PER_CLASS = 100  # training images
PAIRED = 5
TIMEOUT_S = 500.0
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
Accuracies = npt.NDArray[np.float64]

STUDENT_T = {
    2: 12.71,
    3: 4.30,
    4: 3.18,
    5: 2.78,
    6: 2.57,
    8: 2.36,
    10: 2.26,
    12: 2.20,
}  # 97.5% quantile, by number of seeds


def train(data: Path, output: Path, options: Sequence[str], *, two: bool) -> bool:
    """Train one run; whether it has ended in time."""
    command = [
        *(sys.executable, *(TWO if two else ()), "-m", "gfnet_dynn", "train", str(data), *options),
        *("--device", "cpu", "--precision", "32-true", "--output", str(output), "--no-tensorboard"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def accuracies(output: Path) -> Accuracies:
    """Of each exit on the images of `val`, 0 to 1, [G + 1]."""
    (record,) = output.glob("*/run.json")
    layout = RunLayout(record.parent)
    checkpoint = load_checkpoint(layout.model())
    split = read_split(layout.split)
    source = remembered_source(layout.folder)
    data = prepare(source, checkpoint.spec.input, split.settings, output / "splits", ignore_progress)
    net = trained_net(checkpoint, checkpoint.spec, layout.model())
    arrays = collect(net, data.evaluation_loader(split.report_part).in_order(64, torch.device("cpu")))
    found: Accuracies = arrays.correct.mean(axis=0)
    return found


def interval(differences: Accuracies) -> dict[str, Any]:
    """Mean over the seeds, its 95% interval, and the largest of a single seed, in percentage points."""
    points = 100 * differences
    error = STUDENT_T[len(points)] * points.std(ddof=1) / np.sqrt(len(points))
    return {
        "mean": round(float(points.mean()), 3),
        "interval": [round(float(points.mean() + sign * error), 3) for sign in (-1, 1)],
        "largest": round(float(np.abs(points).max()), 3),
    }


def accuracy_of(data: Path, options: Sequence[str], seed: int, *, two: bool, threads: int = 1) -> Accuracies | None:
    """On `val` after a training; None where it has hung."""
    with TemporaryDirectory() as place:
        given = (*options, "--seed", str(seed), "--threads", str(threads))
        found = accuracies(Path(place)) if train(data, Path(place), given, two=two) else None
    sys.stderr.write(f"{data.name}, seed {seed}, {1 + two} processes of {threads} threads: {found}\n")
    return found


def compared(ones: Sequence[Accuracies | None], others: Sequence[Accuracies | None]) -> dict[str, Any]:
    """Mean accuracies of the exits, and the differences of the others from the ones."""
    first, second = (np.array([each for each in runs if each is not None]) for runs in (ones, others))
    differences = second - first
    return {
        "accuracy": first.mean(axis=0).round(4).tolist(),
        "accuracy_of_the_other": second.mean(axis=0).round(4).tolist(),
        "difference_pp": {
            "mean of the exits": interval(differences.mean(axis=1)),
            **{f"exit {index + 1}": interval(each) for index, each in enumerate(differences.T)},
        },
    }


def main() -> None:
    """Train all and store the figures."""
    given = arguments("data", seeds=10, runs=20)
    with TemporaryDirectory() as place:
        scenes = Path(place) / "SyntheticScenes"
        write_synthetic(scenes, train_per_class=24)
        short = [accuracy_of(scenes, SHORT, seed, two=True) for seed in range(given.runs)]
        short_alone = [accuracy_of(scenes, SHORT, seed, two=False) for seed in range(PAIRED)]
        data = Path(place, given.data.name)
        copy_some(given.data / "train", (data / "train",), PER_CLASS)
        shutil.copytree(given.data / "val", data / "val")
        alone, together, two_threads = (
            [accuracy_of(data, REAL, seed, two=two, threads=threads) for seed in range(given.seeds)]
            for two, threads in ((False, 1), (True, 1), (False, 2))
        )
    figures = {
        "command": f"python experiments/torchrun_equality.py EuroSAT {given.seeds} {given.runs} --write torchrun",
        "processor": f"{processor()}, torch {torch.__version__}",
        "what": "top-1 on val by exit; differences in percentage points with 95% intervals over seeds; measured",
        "real": {
            "options": f"EuroSAT, {PER_CLASS} training images a class, {' '.join(REAL)}",
            "seeds": given.seeds,
            "two_processes_against_one": compared(alone, together),
            "two_threads_against_one": compared(alone, two_threads),
        },
        "short": {
            "options": f"SyntheticScenes {' '.join(SHORT)}",
            "runs_of_two_processes": given.runs,
            "hung": sum(each is None for each in short),
            "seeds": PAIRED,
            "two_processes_against_one": compared(short_alone, short[:PAIRED]),
        },
    }
    write_figures(figures, given.write)


if __name__ == "__main__":
    main()
