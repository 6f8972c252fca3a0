"""Which precision is the faster one on this device: timed once, then remembered.

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
from gfnet_dynn.system.memory import copies_returned
from gfnet_dynn.system.processor import processor
from gfnet_dynn.system.storage import write_json

AUTO = "auto"

_ROUNDS = 5


def compile_net(bundle: Bundle, precision: str, engine: Engine) -> SegmentedNet:
    """The bundle in a given precision.

    Raises:
        BundleError: it lacks that precision, or is damaged.
    """
    with copies_returned():
        return SegmentedNet(bundle.manifest, bundle.segments(precision), precision, engine)


def load_fastest(bundle: Bundle, engine: Engine, options: EngineOptions) -> SegmentedNet:
    """The bundle in the precision that is fastest here.

    Args:
        bundle: with one precision or several.
        engine: that will run it.
        options: under which it was made.
    """
    if len(bundle.manifest.precisions) == 1:
        return compile_net(bundle, next(iter(bundle.manifest.precisions)), engine)
    file = _memory(bundle, engine, options)
    known = _recall(file) if file else None
    if known is not None and known in bundle.manifest.precisions:
        return compile_net(bundle, known, engine)
    nets = _all_that_compile(bundle, engine)
    times = time_full_pass(nets)
    fastest = min(times, key=lambda name: times[name])
    if file:
        with suppress(StorageError):  # a device without a writable home times anew at each start
            write_json(file, {"fastest": fastest, "median_ms": times, "engine": engine.name, "processor": processor()})
    return nets[fastest]


def _all_that_compile(bundle: Bundle, engine: Engine) -> dict[str, SegmentedNet]:
    """In float32, and in whatever else the engine takes."""
    nets = {"fp32": compile_net(bundle, "fp32", engine)}
    for name in bundle.manifest.precisions.keys() - nets:
        with suppress(EngineError):
            nets[name] = compile_net(bundle, name, engine)
    return nets


def time_full_pass(nets: Mapping[str, SegmentedNet]) -> dict[str, float]:
    """Milliseconds of a full pass of one image by each network, in turns; the median over the rounds."""
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


def _memory(bundle: Bundle, engine: Engine, options: EngineOptions) -> Path | None:
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    except RuntimeError:  # a user without a home, as containers have them
        return None
    about = json.dumps([bundle.sha256, engine.name, options.threads, processor()])
    return cache / "gfnet-dynn" / "precision" / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.json"


def _recall(file: Path) -> str | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return str(found["fastest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
