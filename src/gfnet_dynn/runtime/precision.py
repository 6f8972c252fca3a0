"""Chooses the precision that is faster on this device: timed once, then cached.

Integer products need instructions that not every processor has; on one without them, int8 is slower than float32.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.errors import EngineError, StorageError
from gfnet_dynn.runtime.engine import Engine, EngineOptions
from gfnet_dynn.runtime.segments import SegmentedNet
from gfnet_dynn.system.machine import copies_returned, processor
from gfnet_dynn.system.storage import write_json

AUTO = "auto"

_ROUNDS = 5


def compile_net(bundle: Bundle, precision: str, engine: Engine) -> SegmentedNet:
    """Compile the bundle in one precision; raises BundleError if it lacks that, or is damaged."""
    with copies_returned():
        return SegmentedNet(bundle.manifest, bundle.segments(precision), precision, engine)


def load_fastest(bundle: Bundle, engine: Engine, options: EngineOptions) -> SegmentedNet:
    """Compile the bundle in the fastest of the precisions that it allows for `auto`."""
    allowed = bundle.manifest.auto_precisions
    if len(allowed) == 1:
        return compile_net(bundle, allowed[0], engine)
    file = _cache_file(bundle, engine, options)
    cached = _read_cached(file) if file else None
    if cached in allowed:
        return compile_net(bundle, cached, engine)
    nets = {"fp32": compile_net(bundle, "fp32", engine)}
    for name in (each for each in allowed if each != "fp32"):
        with suppress(EngineError):  # not every engine supports int8
            nets[name] = compile_net(bundle, name, engine)
    times = time_full_pass(nets)
    fastest = min(times, key=lambda name: times[name])
    if file:
        with suppress(StorageError):  # a device without a writable home times at each start
            write_json(file, {"fastest": fastest, "median_ms": times, "engine": engine.name, "processor": processor()})
    return nets[fastest]


def time_full_pass(nets: Mapping[str, SegmentedNet]) -> dict[str, float]:
    """Milliseconds of a full pass of one image by each network in turn; the median over the rounds."""
    side = next(iter(nets.values())).manifest.input.size
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    times: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(_ROUNDS + 1):
        for name, net in nets.items():
            began = time.perf_counter()
            net.decide(image, net.manifest.policy(FULL))
            if turn:  # the first run allocates
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: float(np.median(each)) for name, each in times.items()}


def _cache_file(bundle: Bundle, engine: Engine, options: EngineOptions) -> Path | None:
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # a user without a home, as in containers
        return None
    key = json.dumps([bundle.sha256, engine.name, options.threads, processor()])
    return cache / "gfnet-dynn" / "precision" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read_cached(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["fastest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
