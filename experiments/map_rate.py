"""Memory and rate of `gfnet-dynn map` on a large scene, against the rate of the network alone on the same chips.

    python experiments/map_rate.py EUROSAT_VAL [SIDE] [FULL_SIDE] [--write map_rate]

The scene has SIDE × SIDE pixels (default 20,000): regions of 8 × 8 images of one class, drawn at random. Its map runs
in a process of its own, with `--max-memory 256M` and one thread, whose peak memory is taken. The network alone takes
chips from random places that lie ready in memory, in batches like those of the map, before and after. The time with
early exits is compared with that of the policy full on a scene of FULL_SIDE pixels, in turns. Prints JSON.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
from figures import arguments, write_figures
from mosaic import CHIP, Images, by_class, write_mosaic
from rasterio.windows import Window

from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.system.machine import processor

MODEL, SEED, TURNS, REGION = "sentinel2", 0, 3, 8
CHIPS, UNIT, BATCH = 4096, 256, 16
LIMIT = "256M"


def scene(target: Path, images: Images, side: int) -> Path:
    """A mosaic of regions of one class each."""
    generator = np.random.default_rng(SEED)
    names, count = sorted(images), -(-side // CHIP)
    regions = generator.integers(len(names), size=(count // REGION + 1, count // REGION + 1))

    def order(row: int, column: int) -> Path:
        paths = images[names[regions[row // REGION, column // REGION]]]
        return paths[int(generator.integers(len(paths)))]

    return write_mosaic(target, count, count, order, side=side)


def network_rate(classifier: Classifier, file: Path) -> float:
    """Chips in a second of the network alone."""
    generator = np.random.default_rng(SEED)
    with rasterio.open(file) as dataset:
        places = generator.integers(dataset.width // (CHIP // 2) - 1, size=(CHIPS, 2)) * (CHIP // 2)
        windows = (Window(int(column), int(row), CHIP, CHIP) for row, column in places)
        chips = np.stack([np.moveaxis(dataset.read(window=window), 0, -1) for window in windows])
    policy, began = classifier.policy(), time.perf_counter()
    for start in range(0, CHIPS, UNIT):
        classifier.net.decide(chips[start : start + UNIT], policy, BATCH)
    return CHIPS / (time.perf_counter() - began)


def mapped(file: Path, *options: str) -> dict[str, float]:
    """Seconds and peak memory of one map in its own process."""
    line = [sys.executable, "-m", "gfnet_dynn", "map", MODEL, str(file), "-o", str(file.with_name("classes.tif"))]
    began, peak = time.perf_counter(), 0.0
    with subprocess.Popen([*line, "--threads", "1", *options], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, peak_mb(process.pid))
            time.sleep(0.05)
    assert process.returncode == 0
    return {"seconds": time.perf_counter() - began, "peak_mb": peak}


def peak_mb(process: int) -> float:
    """The most memory that a process has had, as the system counts it; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def main() -> None:
    """Measure."""
    given = arguments("eurosat", side=20_000, full_side=4_000)
    images, classifier = by_class(given.eurosat), load(MODEL, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        large = scene(Path(folder) / "large.tif", images, given.side)
        small = scene(Path(folder) / "small.tif", images, given.full_side)
        pairs = [(mapped(small)["seconds"], mapped(small, "--policy", "full")["seconds"]) for _ in range(TURNS)]
        before = network_rate(classifier, large)
        found: dict[str, Any] = {
            "side_px": given.side,
            "megabytes": large.stat().st_size / 1e6,
            **mapped(large, "--max-memory", LIMIT),
        }
        after = network_rate(classifier, large)
    chips = ((given.side - CHIP) // (CHIP // 2) + 1) ** 2
    found |= {"chips": chips, "chips_per_s": chips / found["seconds"], "network_chips_per_s": [before, after]}
    found["share_of_network_rate"] = found["chips_per_s"] / ((before + after) / 2)
    exits = {"side_px": given.full_side, "seconds": pairs, "ratio": median(early / full for early, full in pairs)}
    command = f"python experiments/map_rate.py EUROSAT_VAL {given.side} {given.full_side} --write map_rate"
    machine = {"processor": processor(), "threads": 1, "limit": LIMIT}
    write_figures({"command": command, "machine": machine, "large": found, "against_full": exits}, given.write)


if __name__ == "__main__":
    main()
