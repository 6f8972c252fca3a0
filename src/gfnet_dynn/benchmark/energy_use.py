"""Energy per image of each candidate, from the meters of the device; an estimate is marked as one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.candidates import Candidate, Identity
from gfnet_dynn.benchmark.energy.meter import Energy, Kind, Meter, estimate, idle_power_w
from gfnet_dynn.errors import MeterError
from gfnet_dynn.progress import OnStep, ignore_steps

_SETTLE_S = 3.0  # clocks, temperature and the averages that some meters report lag behind the load


@dataclass(frozen=True)
class EnergyFigures:
    """One candidate by one meter, end to end.

    Attributes:
        identity: which candidate.
        meter: its name.
        covers: the parts of the device that it measures.
        kind: measured or estimated.
        source: files or calls that are read.
        image_mj: millijoules per image, of all that the meter covers.
        idle_power_w: of the idle device, measured before this candidate ran; None for an estimate.
        above_idle_mj: millijoules per image beyond the idle power; None for an estimate.
        images: that were classified under the meter.
        seconds: that they took.
    """

    identity: Identity
    meter: str
    covers: str
    kind: Kind
    source: str
    image_mj: float
    idle_power_w: float | None
    above_idle_mj: float | None
    images: int
    seconds: float


@dataclass(frozen=True)
class EnergyReport:
    """All figures, and a reason for each meter that gave none."""

    figures: tuple[EnergyFigures, ...]
    unavailable: tuple[str, ...]


def measure_energy(
    candidates: Sequence[Candidate],
    files: Sequence[Path],
    meters: tuple[Sequence[Meter], Sequence[str]],
    seconds: float,
    estimate_power_w: float | None = None,
    on_step: OnStep = ignore_steps,
) -> EnergyReport:
    """Run each candidate under each meter.

    Args:
        candidates: the networks.
        files: images, classified over and over.
        meters: result of `find_meters`.
        seconds: under each meter, and to measure the idle device before; 0: no energy is measured.
        estimate_power_w: power for an additional estimate.
        on_step: called after each candidate.
    """
    if not (files and seconds):
        return EnergyReport((), ("--energy-seconds 0" if files else "no image files",))
    usable, unavailable = meters[0], list(meters[1])
    total = len(candidates) * (len(usable) + (estimate_power_w is not None))
    figures: list[EnergyFigures] = []
    for meter in usable:
        try:
            for each in _by_meter(meter, candidates, files, seconds):
                figures.append(each)  # one by one: they are kept if the meter fails later
                on_step(len(figures), total)
        except MeterError as error:
            unavailable.append(str(error))
    if estimate_power_w is not None:
        for candidate in candidates:
            images, taken = run_for(candidate, files, seconds)
            figures.append(_figures(candidate, estimate(estimate_power_w, taken), images, None))
            on_step(len(figures), total)
    if len(figures) < total:
        on_step(total, total)
    return EnergyReport(tuple(figures), tuple(unavailable))


def _by_meter(
    meter: Meter, candidates: Sequence[Candidate], files: Sequence[Path], seconds: float
) -> Iterator[EnergyFigures]:
    for candidate in candidates:
        time.sleep(_SETTLE_S)
        idle = idle_power_w(meter, seconds)
        with meter.measure() as measurement:
            images, _ = run_for(candidate, files, seconds)
        yield _figures(candidate, measurement.energy, images, idle)


def _figures(candidate: Candidate, energy: Energy, images: int, idle_w: float | None) -> EnergyFigures:
    return EnergyFigures(
        identity=candidate.identity,
        meter=energy.meter,
        covers=energy.covers,
        kind=energy.kind,
        source=energy.source,
        image_mj=1e3 * energy.joules / images,
        idle_power_w=idle_w,
        above_idle_mj=None if idle_w is None else 1e3 * (energy.joules - idle_w * energy.seconds) / images,
        images=images,
        seconds=energy.seconds,
    )


def run_for(candidate: Candidate, files: Sequence[Path], seconds: float) -> tuple[int, float]:
    """Classify files over and over for at least the given time: number of images, and seconds that they took."""
    start, images = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < seconds or not images:
        candidate.classify(files[images % len(files)])
        images += 1
    return images, taken
