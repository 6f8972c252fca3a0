"""Train the demo with and without --exit-floor, and compare the accuracy of every exit.

The heads are not refitted: that would hide the effect of the gates on their training.

    python experiments/exit_floor.py [SEED]

Takes some five minutes on two cores; writes docs/results/exit_floor.json.
"""

from __future__ import annotations

import json
import subprocess
import sys

from figures import ROOT, write_figures

DATA = ("--data-set", "SyntheticScenes", "--model", "gfnet-96x8")
EPOCHS = ("--backbone-epochs", "20", "--warmup-epochs", "6", "--num_epoch", "16")


def accuracies(floor: float, seed: int) -> list[float]:
    """Accuracy of each exit on all images of val, the final exit last."""
    output = f"runs/exit_floor_{floor}"
    options = [*DATA, *EPOCHS, "--exit-floor", str(floor), "--seed", str(seed), "--output", output]
    for more in (["--no-refit"], ["--eval", "--latency-images", "0"]):
        subprocess.run([sys.executable, "main_dynn.py", *options, *more], cwd=ROOT, check=True)
    report = ROOT / output / "checkpoint_SyntheticScenes_0.75_confEE/checkpoint_result/evaluation/evaluation.json"
    return [each["accuracy"] for each in json.loads(report.read_text(encoding="utf-8"))["network"]["exits"]]


def main() -> None:
    """Run both and store the figures."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    figures = {
        "command": f"python experiments/exit_floor.py {seed}",
        "data": "SyntheticScenes, 400 validation images",
        "top1_of_each_exit_by_floor": {str(floor): accuracies(floor, seed) for floor in (0.0, 0.1)},
    }
    write_figures(figures, "exit_floor")


if __name__ == "__main__":
    main()
