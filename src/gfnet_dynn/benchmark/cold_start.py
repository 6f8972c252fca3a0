"""First prediction of a fresh process: time from its start, and peak memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import EngineError

# The process reports its memory itself: its parent would also count its own pages, those between fork and exec.
_CLASSIFY = """
import atexit, sys

def peak():
    try:
        with open("/proc/self/status") as lines:
            kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            return
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kib = largest / 1024 if sys.platform == "darwin" else largest
    sys.stderr.write(f"peak_kib={kib}")

atexit.register(peak)
sys.argv[0] = "gfnet-dynn"
from gfnet_dynn.cli.app import main
main()
"""
_MARK = "peak_kib="


@dataclass(frozen=True)
class ColdStart:
    """First prediction of a fresh process, from start to end, in medians; peak resident memory, 10⁶ bytes, if known."""

    seconds: float
    peak_mb: float | None
    starts: int
    precision: str
    engine: str


def measure_cold_start(
    bundle: Path, image: Path, engine: str, precision: str, options: Sequence[str] = (), starts: int = 5
) -> ColdStart:
    """Run `gfnet-dynn classify`, with further options, in fresh processes; raises EngineError if one fails."""
    line = ["--engine", engine, "--precision", precision, *options]
    # -P, as the installed command has it: modules in the working folder are not imported.
    command = [sys.executable, "-P", "-c", _CLASSIFY, "classify", str(bundle.absolute()), str(image.absolute()), *line]
    seconds, peaks = [], []
    for _ in range(starts):
        start = time.perf_counter()
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        seconds.append(time.perf_counter() - start)
        if result.returncode:
            raise EngineError(f"a fresh process cannot classify {image}: {result.stderr.strip()[-300:]}")
        if _MARK in result.stderr:
            peaks.append(float(result.stderr.rsplit(_MARK, 1)[1]) * 1024 / 1e6)
    peak = statistics.median(peaks) if peaks else None
    return ColdStart(statistics.median(seconds), peak, starts, precision, engine)
