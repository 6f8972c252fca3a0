"""Energy of an image on a device, by the meters that are there; never a guess that looks like a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.energy.meter import Energy, Kind, Meter, estimate, idle_power_w
from gfnet_dynn.errors import MeterError
from gfnet_dynn.measure.contenders import Contender


@dataclass(frozen=True)
class EnergyWish:
    """What is wanted.

    Attributes:
        seconds: to run each network under a meter, and to watch the idle device; 0 leaves energy out.
        estimate_power_w: power that the user gives, for an estimate beside whatever is measured.
    """

    seconds: float
    estimate_power_w: float | None = None


@dataclass(frozen=True)
class EnergyFigures:
    """One network by one meter, from file to label.

    Attributes:
        name: of the network.
        engine: with its version.
        precision: `fp32` or `int8`.
        meter: its name.
        covers: what it sees.
        kind: measured or estimated.
        source: files or calls that it comes from.
        image_mj: millijoules of an image, of all that the meter covers.
        idle_power_w: of the idle device, measured just before; None for an estimate.
        above_idle_mj: millijoules of an image beyond what the idle device takes; None for an estimate.
        images: that were classified under the meter.
        seconds: that it took.
    """

    name: str
    engine: str
    precision: str
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
    contenders: Sequence[Contender],
    files: Sequence[Path],
    meters: tuple[Sequence[Meter], Sequence[str]],
    wish: EnergyWish,
    told: Callable[[int, int], None],
) -> EnergyReport:
    """Run each network for some seconds under each meter.

    Args:
        contenders: the networks.
        files: images, gone through again and again.
        meters: those that work here, and why others don't, as `find_meters` gives them.
        wish: how long.
        told: of networks done, and of all.
    """
    usable, why_not = meters[0], list(meters[1])
    if wish.seconds == 0:
        return EnergyReport((), ("left out by --energy-seconds 0",))
    rounds = len(usable) + (wish.estimate_power_w is not None)
    figures: list[EnergyFigures] = []
    for done, meter in enumerate(usable, start=1):
        try:
            figures += _by_meter(meter, contenders, files, wish.seconds)
        except MeterError as error:  # what was measured before it is not lost
            why_not.append(str(error))
        told(done, rounds)
    if wish.estimate_power_w is not None:
        figures += [_estimated(each, files, wish.seconds, wish.estimate_power_w) for each in contenders]
        told(rounds, rounds)
    return EnergyReport(tuple(figures), tuple(why_not))


def _by_meter(
    meter: Meter, contenders: Sequence[Contender], files: Sequence[Path], seconds: float
) -> list[EnergyFigures]:
    idle, figures = idle_power_w(meter, seconds), []
    for contender in contenders:
        with meter.measure() as measurement:
            images, _ = run_for(contender, files, seconds)
        figures.append(_figures(contender, measurement.energy, images, idle))
    return figures


def _estimated(contender: Contender, files: Sequence[Path], seconds: float, power_w: float) -> EnergyFigures:
    images, taken = run_for(contender, files, seconds)
    return _figures(contender, estimate(power_w, taken), images, None)


def _figures(contender: Contender, energy: Energy, images: int, idle_w: float | None) -> EnergyFigures:
    return EnergyFigures(
        *(contender.name, contender.engine, contender.precision),
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


def run_for(contender: Contender, files: Sequence[Path], seconds: float) -> tuple[int, float]:
    """Classify files over and over for at least so many seconds: how many images, and how long it took."""
    began, images = time.perf_counter(), 0
    while (taken := time.perf_counter() - began) < seconds or not images:
        contender.answer(files[images % len(files)])
        images += 1
    return images, taken
