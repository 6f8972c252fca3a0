"""Reads damaged files one after the other, within limits: `python -m tests.fuzz.reading bundles FOLDER COUNT`."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from gfnet_dynn.errors import GFNetDynnError

LONGEST_S = 10
MOST_MB = 500


def bundles_reader(whole: bytes) -> tuple[Callable[[int], bytes], Callable[[Path], object]]:
    from gfnet_dynn.bundle.archive import read_bundle  # noqa: PLC0415 # not where checkpoints are read
    from gfnet_dynn.runtime.engine import EngineOptions, make_engine  # noqa: PLC0415
    from gfnet_dynn.runtime.precision import compile_net  # noqa: PLC0415
    from tests import bundles  # noqa: PLC0415
    from tests.fuzz.mutations import mutated_bundle  # noqa: PLC0415

    installed = [name for name in ("onnxruntime", "openvino") if find_spec(name)]
    engines = [make_engine(name, EngineOptions(threads=1)) for name in installed]
    images = bundles.images(3)

    def read(path: Path) -> None:
        bundle = read_bundle(path)
        bundle.verify()
        for index, precision in enumerate(bundle.manifest.precisions):
            net = compile_net(bundle, precision, engines[index % len(engines)])
            for policy in bundle.manifest.policies:
                net.decide(images, policy)
        assert len(bundle.manifest.costs) == bundle.manifest.num_exits

    return lambda number: mutated_bundle(whole, number), read


def checkpoints_reader(whole: bytes) -> tuple[Callable[[int], bytes], Callable[[Path], object]]:
    from gfnet_dynn.model.checkpoint import load_checkpoint  # noqa: PLC0415 # needs torch
    from tests.fuzz.mutated_checkpoints import mutated_checkpoint  # noqa: PLC0415

    return lambda number: mutated_checkpoint(whole, number), lambda path: load_checkpoint(path).build()


def main(kind: str, folder: Path, count: int) -> None:
    """Print how the reading ended, the slowest in seconds, and the memory that it took, as JSON."""
    whole, path = (folder / "whole").read_bytes(), folder / "damaged"
    mutated, read = (bundles_reader if kind == "bundles" else checkpoints_reader)(whole)
    read(folder / "whole")
    before, slowest, ends = peak_mb(), 0.0, Counter[str]()
    for number in range(count):
        path.write_bytes(mutated(number))
        print(number, file=sys.stderr, flush=True)  # noqa: T201 # the last one is the culprit
        began = time.perf_counter()
        signal.alarm(LONGEST_S)  # ends the process
        try:
            read(path)
            ends["read"] += 1
        except GFNetDynnError as error:
            assert str(error)
            ends[type(error).__name__] += 1
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - began)
    found = {"ends": ends, "slowest_s": round(slowest, 2), "grown_mb": round(peak_mb() - before)}
    print(json.dumps(found))  # noqa: T201


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
