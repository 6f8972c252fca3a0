"""Rate and memory of `gfnet-dynn archive`: two workers against one, rows of a driver, batches across stages.

    python experiments/archive_scaling.py EUROSAT_VAL [IMAGES] [TURNS] [--write archive_scaling]

1. A list of IMAGES images (default 20,000; those of the folder in random order, again and again) in 16 partitions, by
   one worker and by two, in turns; each run is a command of its own. The rate is that of the whole run but for the
   start of the driver: the start of the workers is part of it. The ratio is the median over the turns.
   What the machine itself allows is told beside it: two commands of one worker at once, each with half of the list.
2. The largest resident memory of the driver alone, at 10,000 and at 200,000 rows, in partitions of 1,000. For speed 19
   of 20 names lead to no file: a driver sees partitions and their counts, never images.
3. The network alone, on images in memory: windows of several batches, of which those that do not exit share the batches
   of later segments, against one batch after the other. In turns, by processor time; answers are compared bit by bit.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from figures import arguments, write_figures

from gfnet_dynn.benchmark.result import Machine
from gfnet_dynn.images.files import require_images
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.segments import usual_batch

MODEL, PARTITIONS = "sentinel2", 16
POLICIES = ("1-point", "full")
ROWS = (10_000, 200_000)
MISSING = 20  # of so many names, one leads to an image
WINDOWS = (1, 2, 4, 8, 16)  # batches
IMAGES_IN_MEMORY = 512


def main() -> None:
    """Measure all three."""
    given = arguments("val", images=20_000, turns=5)
    files = [str(each.absolute()) for each in require_images(given.val).images]
    random.Random(0).shuffle(files)
    figures = {
        "command": f"python experiments/archive_scaling.py EUROSAT/val {given.images} {given.turns} "
        "--write archive_scaling",
        "machine": asdict(Machine.here(1)),
        "model": f"{MODEL}, fp32, one thread a worker",
        "workers": scaling(files, given.images, given.turns),
        "driver": {str(rows): driver_memory(files, rows) for rows in ROWS},
        "batches_across_stages": {policy: compaction(files, policy, given.turns) for policy in POLICIES},
    }
    write_figures(figures, given.write)


def scaling(files: Sequence[str], images: int, turns: int) -> dict[str, Any]:
    """Images per second by one worker, by two, and by two commands of one worker at once, in turns."""
    names = [files[number % len(files)] for number in range(images)]
    runs: dict[str, Callable[[], float]] = {
        "one worker": lambda: rate(names, images, 1),
        "two workers": lambda: rate(names, images, 2),
        "two commands": lambda: rate_of_two_commands(names, images),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            rates[name].append(run())
    ratios = {
        name: [found / one for one, found in zip(rates["one worker"], each, strict=True)]
        for name, each in rates.items()
    }
    return {
        "images": images,
        "partitions": PARTITIONS,
        "images_per_s": {name: median(each) for name, each in rates.items()},
        "images_per_s_by_turn": rates,
        "over_one_worker": {name: median(each) for name, each in ratios.items()},
        "over_one_worker_by_turn": ratios,
    }


def rate(names: Sequence[str], images: int, workers: int) -> float:
    """Images per second of an archive of these images, in partitions of a sixteenth of so many."""
    found: float = archived(names, -(-images // PARTITIONS), workers)[0]["last_run"]["images_per_s"]
    return found


def rate_of_two_commands(names: Sequence[str], images: int) -> float:
    """The sum of the rates of two commands at once, each with half of the images and one worker."""
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda half: rate(half, images, 1), (names[::2], names[1::2])))


def driver_memory(files: Sequence[str], rows: int) -> dict[str, Any]:
    """The largest resident memory of the driver."""
    names = [files[number % len(files)] if number % MISSING == 0 else f"/nowhere/{number}" for number in range(rows)]
    summary, largest = archived(names, 1_000, 2)
    assert summary["rows"] == rows
    return {"rows": rows, "partitions": summary["partitions"], "largest_rss_mib": largest}


def archived(names: Sequence[str], partition_size: int, workers: int) -> tuple[dict[str, Any], float]:
    """The summary of a list's archive, and the largest memory of its driver in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        listed, output = Path(folder, "list.txt"), Path(folder, "answers")
        listed.write_text("\n".join(names))
        words = ["archive", MODEL, str(listed), "-o", str(output), "--workers", str(workers), "--precision", "fp32"]
        words += ["--partition-size", str(partition_size)]
        process = subprocess.Popen(
            [sys.executable, "-m", "gfnet_dynn", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        largest = watched(process)
        if process.returncode not in (0, 2):
            sys.exit(f"archive ended with status {process.returncode}")
        return json.loads((output / "_summary.json").read_text(encoding="utf-8")), largest


def watched(process: subprocess.Popen[bytes]) -> float:
    """The largest resident memory of a process until it ends, in MiB, looked at often."""
    largest = 0
    while process.poll() is None:
        try:
            largest = max(largest, int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1]))
        except (OSError, IndexError):  # it has just ended
            break
        time.sleep(0.02)
    process.wait()
    return largest * os.sysconf("SC_PAGE_SIZE") / 2**20


def compaction(files: Sequence[str], policy: str, turns: int) -> dict[str, Any]:
    """Rate of the network alone by the batches of a window, over that of single batches."""
    classifier = load(MODEL, precision="fp32", threads=1)
    batch, chosen = usual_batch(classifier.manifest.input.size), classifier.policy(policy)
    images = np.stack([classifier.read(file) for file in files[:IMAGES_IN_MEMORY]])

    def decide(window: int) -> np.ndarray[Any, Any]:
        parts = [
            classifier.net.decide(images[start : start + window * batch], chosen, batch)
            for start in range(0, len(images), window * batch)
        ]
        return np.concatenate([each.logits for each in parts])

    expected = decide(1)
    seconds: dict[int, list[float]] = {window: [] for window in WINDOWS}
    for _ in range(turns):
        for window, found in seconds.items():
            found.append(timed(lambda window=window: decide(window), expected))  # type: ignore[misc]
    ratios = {
        window: median(one / other for one, other in zip(seconds[1], found, strict=True))
        for window, found in seconds.items()
    }
    rates = {window: len(images) / median(found) for window, found in seconds.items()}
    return {"batch": batch, "images_per_s_by_window": rates, "over_single_batches": ratios}


def timed(work: Callable[[], np.ndarray[Any, Any]], expected: np.ndarray[Any, Any]) -> float:
    """Seconds of the processor that it takes; the answers must be these."""
    began = time.process_time()
    found = work()
    taken = time.process_time() - began
    if not np.array_equal(found, expected):
        sys.exit("the answers depend on the batch")
    return taken


if __name__ == "__main__":
    main()
