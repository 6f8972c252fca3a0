"""What an archive costs: seconds of an image, of a partition and of the start, and what follows for a million and more.

    python experiments/archive_costs.py EuroSAT/val [REPEATS] [--write archive_costs]

`gfnet-dynn archive` with one worker classifies tables of several sizes, in an order drawn anew each time, and the
largest also in many small partitions. A line is fitted to the times of all sizes but the largest (least squares): its
slope is the time of an image, where it meets zero that of the start. The largest then checks the line. Hours and prices
of larger archives are estimated from it. Prints JSON.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import arguments, write_figures

from gfnet_dynn.benchmark.result import Machine
from gfnet_dynn.images.files import find_images

SIZES, LARGEST, SMALL = (1_000, 2_000, 4_000), 8_000, 200  # images; SMALL: of a partition
POLICIES = ("full", "1-point")
PRICE = 0.04  # currency units for an hour of one core: an assumption, near what clouds asked for in 2025
ARCHIVES = (10**6, 10**8)


def main() -> None:
    """Measure and fit."""
    given = arguments("val", repeats=2)
    contents = [path.read_bytes() for path in find_images(given.val).images]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (*SIZES, LARGEST):
            write_table(folder / f"{size}.parquet", contents, size)
        figures = {
            "command": f"python experiments/archive_costs.py EuroSAT/val {given.repeats} --write archive_costs",
            "machine": asdict(Machine.here(1)),
            "model": "sentinel2, fp32, one worker with one thread",
            "price_per_core_hour": PRICE,
            "policies": {policy: measured(folder, policy, given.repeats) for policy in POLICIES},
        }
    write_figures(figures, given.write)


def write_table(path: Path, contents: Sequence[bytes], rows: int) -> None:
    """A Parquet file of so many images, over and over the same."""
    table = pa.table({"image": [contents[number % len(contents)] for number in range(rows)]})
    pq.write_table(table, path, row_group_size=SMALL)


def measured(folder: Path, policy: str, repeats: int) -> dict[str, Any]:
    """Medians of all sizes, and the line."""
    settings = [(size, LARGEST) for size in (*SIZES, LARGEST)] + [(LARGEST, SMALL)]
    seconds: dict[tuple[int, int], list[float]] = {each: [] for each in settings}
    for turn in range(repeats):
        for size, partition in random.Random(turn).sample(settings, len(settings)):
            seconds[size, partition].append(run(folder, policy, size, partition))
    medians = {each: median(found) for each, found in seconds.items()}
    image_s, start_s = np.polyfit(SIZES, [medians[size, LARGEST] for size in SIZES], 1).tolist()
    predicted, found = start_s + image_s * LARGEST, medians[LARGEST, LARGEST]
    return {
        "seconds": {
            f"{size} images in partitions of {partition}": found for (size, partition), found in seconds.items()
        },
        "image_s": image_s,
        "start_s": start_s,
        "partition_s": (medians[LARGEST, SMALL] - found) / (LARGEST / SMALL - 1),
        "images_per_s_of_a_core": 1 / image_s,
        "check": {"images": LARGEST, "predicted_s": predicted, "measured_s": found, "error": found / predicted - 1},
        "estimated": {
            images: {"core_hours": images * image_s / 3600, "price": images * image_s / 3600 * PRICE}
            for images in ARCHIVES
        },
    }


def run(folder: Path, policy: str, size: int, partition: int) -> float:
    """Seconds of one whole command."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        words = ("archive", "sentinel2", str(folder / f"{size}.parquet"), "-o", f"{output}/answers", "--policy", policy)
        more = ("--partition-size", str(partition), "--workers", "1", "--precision", "fp32")
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gfnet_dynn", *words, *more], check=True, capture_output=True)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
