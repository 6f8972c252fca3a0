"""Memory and rate of `gfnet-dynn map` on a large scene, against the rate of the network alone on the same chips.

    python experiments/map_rate.py EUROSAT_VAL [SIDE] [TURNS_SIDE] [--write map_rate]

A scene is tiled from images in regions of 8 × 8 of one class, drawn at random. The map of one of SIDE × SIDE pixels
(default 20,000) runs in a process of its own, with `--max-memory 256M` and without; its peak memory is taken. Rates are
measured on one of TURNS_SIDE pixels, in turns: the network alone on chips from random places that lie ready in memory,
in batches like those of the map; the map; the map with the policy full. All with one thread. Prints JSON.
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

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.system.machine import processor

MODEL, SEED, TURNS, REGION = "sentinel2", 0, 5, 8
CHIPS, UNIT, BATCH = 16_384, 256, 16
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
        chips = np.stack([classifier.read(np.moveaxis(dataset.read(window=window), 0, -1)) for window in windows])
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


def turn(classifier: Classifier, file: Path, side: int) -> dict[str, float]:
    """Rates of the network alone and of maps with and without early exits, one after the other."""
    chips = count_chips(side)
    network = network_rate(classifier, file)
    early, full = (mapped(file, "--policy", policy)["seconds"] for policy in (classifier.policy().name, FULL))
    rate = chips / early
    return {
        "network_per_s": network,
        "map_per_s": rate,
        "share": rate / network,
        "seconds": early,
        "full_seconds": full,
    }


def count_chips(side: int) -> int:
    """Chips of a scene that lie half over each other."""
    return int((-(-side // (CHIP // 2)) - 1) ** 2)


def main() -> None:
    """Measure."""
    given = arguments("eurosat", side=20_000, turns_side=8_000)
    images, classifier = by_class(given.eurosat), load(MODEL, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        small = scene(Path(folder) / "small.tif", images, given.turns_side)
        turns = [turn(classifier, small, given.turns_side) for _ in range(TURNS)]
        large = scene(Path(folder) / "large.tif", images, given.side)
        peak = {"side_px": given.side, "megabytes": large.stat().st_size / 1e6, "limit": LIMIT}
        peak |= {"chips": count_chips(given.side), **mapped(large, "--max-memory", LIMIT)}
        peak["peak_mb_without_limit"] = mapped(large)["peak_mb"]
    rates: dict[str, Any] = {"side_px": given.turns_side, "chips": count_chips(given.turns_side), "turns": turns}
    rates["median_share_of_network_rate"] = median(each["share"] for each in turns)
    rates["median_time_of_full"] = median(each["seconds"] / each["full_seconds"] for each in turns)
    command = f"python experiments/map_rate.py EUROSAT_VAL {given.side} {given.turns_side} --write map_rate"
    machine = {"processor": processor(), "threads": 1}
    write_figures({"command": command, "machine": machine, "memory": peak, "rates": rates}, given.write)


if __name__ == "__main__":
    main()
