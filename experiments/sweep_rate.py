"""Time the evaluation of a network at many thresholds, from stored outputs.

    python experiments/sweep_rate.py [IMAGES] [ROUNDS]

Five exits and a thousand thresholds: the exit of every image, its loss by four risks and its cost, and the test of a
guarantee over all of them. Writes docs/results/sweep_rate.json: the median of the rounds, measured on this machine.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from figures import write_figures

from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.guarantees.control import RiskTarget, control
from gfnet_dynn.guarantees.paths import exits_along, means_at, same_for_all
from gfnet_dynn.guarantees.risk import RiskName, risk_of
from gfnet_dynn.system.machine import processor

EXITS, CLASSES, THRESHOLDS = 5, 21, 1000
RISKS: tuple[RiskName, ...] = ("accuracy-drop", "harmful-exits", "error", "disagreement")
COSTS = (0.2, 0.3, 0.4, 0.6, 1.0)


def make_arrays(images: int) -> ExitArrays:
    """Random outputs whose accuracy rises from exit to exit."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, images)
    logits = generator.normal(size=(images, EXITS, CLASSES)).astype(np.float32)
    for index in range(EXITS):
        logits[np.arange(images), index, labels] += 3 + index
    gates = np.sort(generator.random((images, EXITS - 1)).astype(np.float32), axis=1)
    return ExitArrays(logits, gates, labels)


def sweep(arrays: ExitArrays) -> None:
    """Risks and mean cost at every threshold, and one guarantee."""
    path = same_for_all(EXITS - 1, np.linspace(1, 0, THRESHOLDS).tolist())
    exits = exits_along(arrays.gates, path)
    means_at(np.tile(COSTS, (len(arrays.labels), 1)), exits)
    for name in RISKS:
        means_at(risk_of(arrays, name).losses, exits)
    control(arrays, COSTS, RiskTarget("accuracy-drop", 0.05))


def main() -> None:
    """Measure and store."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    arrays, seconds = make_arrays(images), []
    for _ in range(rounds):
        began = time.perf_counter()
        sweep(arrays)
        seconds.append(time.perf_counter() - began)
    described = {
        "command": f"python experiments/sweep_rate.py {images} {rounds}",
        "source": "measured on this machine, median of the rounds",
        "machine": processor(),
        "images": images,
        "exits": EXITS,
        "thresholds": THRESHOLDS,
        "risks": list(RISKS),
        "seconds": round(float(np.median(seconds)), 3),
    }
    write_figures(described, "sweep_rate")


if __name__ == "__main__":
    main()
