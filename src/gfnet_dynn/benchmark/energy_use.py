"""Energy of an image on a device, by the meters that are there; never a guess that looks like a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.candidates import Candidate, Identity
from gfnet_dynn.benchmark.energy.meter import Energy, Kind, Meter, estimate, idle_power_w
from gfnet_dynn.errors import MeterError

_SETTLE_S = 3.0  # clocks, temperature and the means that some meters give lag behind the load


@dataclass(frozen=True)
class EnergyRequest:
    """What is wanted.

    Attributes:
        seconds: to run each network under a meter, and to watch the idle device before it; 0 leaves energy out.
        estimate_power_w: power that the user gives, for an estimate beside whatever is measured.
    """

    seconds: float
    estimate_power_w: float | None = None


@dataclass(frozen=True)
class EnergyFigures:
    """One network by one meter, from file to label.

    Attributes:
        identity: which network.
        meter: its name.
        covers: what it sees.
        kind: measured or estimated.
        source: files or calls that it comes from.
        image_mj: millijoules of an image, of all that the meter covers.
        idle_power_w: of the idle device, measured before this network ran; None for an estimate.
        above_idle_mj: millijoules of an image beyond what the idle device takes; None for an estimate.
        images: that were classified under the meter.
        seconds: that it took.
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
    """All figures, and why there are no more."""

    figures: tuple[EnergyFigures, ...]
    why_not: tuple[str, ...]


def measure_energy(
    candidates: Sequence[Candidate],
    files: Sequence[Path],
    meters: tuple[Sequence[Meter], Sequence[str]],
    target: EnergyRequest,
    told: Callable[[int, int], None],
) -> EnergyReport:
    """Run each network for some seconds under each meter.

    Args:
        candidates: the networks.
        files: images, gone through again and again.
        meters: those that work here, and why others don't, as `find_meters` gives them.
        target: how long.
        told: of networks done, and of all.
    """
    usable, why_not = meters[0], list(meters[1])
    if target.seconds == 0:
        return EnergyReport((), ("left out by --energy-seconds 0",))
    total = len(candidates) * (len(usable) + (target.estimate_power_w is not None))
    figures: list[EnergyFigures] = []
    for meter in usable:
        try:
            for each in _by_meter(meter, candidates, files, target.seconds):
                figures.append(each)  # one by one: a meter that fails later takes none of them
                told(len(figures), total)
        except MeterError as error:
            why_not.append(str(error))
    if target.estimate_power_w is not None:
        for candidate in candidates:
            figures.append(_estimated(candidate, files, target.seconds, target.estimate_power_w))
            told(len(figures), total)
    if len(figures) < total:
        told(total, total)
    return EnergyReport(tuple(figures), tuple(why_not))


def _by_meter(
    meter: Meter, candidates: Sequence[Candidate], files: Sequence[Path], seconds: float
) -> Iterator[EnergyFigures]:
    for candidate in candidates:
        time.sleep(_SETTLE_S)
        idle = idle_power_w(meter, seconds)
        with meter.measure() as measurement:
            images, _ = run_for(candidate, files, seconds)
        yield _figures(candidate, measurement.energy, images, idle)


def _estimated(candidate: Candidate, files: Sequence[Path], seconds: float, power_w: float) -> EnergyFigures:
    images, taken = run_for(candidate, files, seconds)
    return _figures(candidate, estimate(power_w, taken), images, None)


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
    """Classify files over and over for at least so many seconds: how many images, and how long it took."""
    began, images = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < seconds or not images:
        candidate.answer(files[images % len(files)])
        images += 1
    return images, taken
