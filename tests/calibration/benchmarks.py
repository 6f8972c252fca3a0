"""What `gfnet-dynn benchmark … --json` writes of the tiny bundle, with made-up times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gfnet_dynn.benchmark.candidates import Identity
from gfnet_dynn.benchmark.energy_use import EnergyFigures, EnergyReport
from gfnet_dynn.benchmark.measurement import CandidateFigures, ExitFigures, Latency, Preprocessing
from gfnet_dynn.benchmark.result import BenchmarkResult, Machine
from gfnet_dynn.bundle.manifest import Manifest
from tests import bundles

DECODE, FIT = Latency(0.9, 1.0, 1.5, 2.0), Latency(0.4, 0.5, 0.6, 0.75)
BESIDE = 2.0
"""Mean milliseconds of a frame outside the network: reading, and what no part is named for."""
SLOW, FAST = (8.0, 14.0, 20.0), (4.0, 7.0, 10.0)
"""Mean milliseconds of each exit in fp32 and in int8; a 99th percentile is half as much again."""


def latency(mean: float) -> Latency:
    return Latency(0.9 * mean, mean, 1.2 * mean, 1.5 * mean)


def candidate(
    precision: str = "fp32",
    means: tuple[float, ...] = SLOW,
    engine: str = "onnxruntime 1.0",
    manifest: Manifest | None = None,
    name: str = "tiny",
    beside: float = BESIDE,
) -> CandidateFigures:
    described = bundles.manifest() if manifest is None else manifest
    identity = Identity(
        name, engine, precision, "p", described.input.size, described.exits[-1].macs, "a.gfd", "0" * 64, 5
    )
    ways = zip(described.exits, described.costs, means, strict=True)
    figures = tuple(ExitFigures(way.name, cost, latency(mean), mean / means[-1], 0.5) for way, cost, mean in ways)
    mix, frame = latency(means[0]), latency(means[0] + beside)
    return CandidateFigures(identity, figures, mix, frame, None, None, ())


def energy(of: CandidateFigures, **changes: Any) -> EnergyFigures:
    """3 W: 300 images of 25 mJ in 2.5 s."""
    figures = EnergyFigures(
        of.identity,
        "RAPL",
        "package",
        "measured",
        "/sys",
        25.0,
        idle_power_w=1.0,
        above_idle_mj=9.0,
        images=300,
        seconds=2.5,
    )
    return replace(figures, **changes)


def report(*candidates: CandidateFigures, energies: tuple[EnergyFigures, ...] = ()) -> dict[str, Any]:
    """As JSON values; of the tiny bundle in both precisions, unless others are given."""
    made = BenchmarkResult(
        machine=Machine("a Cortex", "arm", "Linux", "3.11", "0.1", 1),
        subject="tiny.gfd",
        images=48,
        repeats=5,
        candidates=candidates or (candidate(), candidate("int8", FAST)),
        preprocessing=Preprocessing(DECODE, FIT),
        cold_starts=(),
        energy=EnergyReport(energies, ()),
        exported={},
    )
    described: dict[str, Any] = json.loads(json.dumps(made.to_dict()))
    return described


def write_benchmark(path: Path, described: dict[str, Any] | None = None) -> Path:
    path.write_text(json.dumps(report() if described is None else described), encoding="utf-8")
    return path
