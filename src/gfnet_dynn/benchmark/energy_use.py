"""Energy per image of each candidate, from the meters of the device; an estimate is marked as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.benchmark.candidates import Candidate, Identity
from gfnet_dynn.benchmark.energy.external import find_external
from gfnet_dynn.benchmark.energy.meter import Estimate, Found, Meter
from gfnet_dynn.benchmark.energy.nvml import find_nvml
from gfnet_dynn.benchmark.energy.sysfs import find_ina, find_rapl
from gfnet_dynn.errors import MeterError
from gfnet_dynn.progress import OnStep, ignore_steps

_SETTLE_S = 3.0  # clocks, temperature and the averages that some meters report lag behind the load


@dataclass(frozen=True)
class EnergyFigures:
    """One candidate by one meter, end to end, with the meter's own name, coverage and source."""

    identity: Identity
    meter: str
    covers: str
    kind: Literal["measured", "estimated"]  # measured by a meter, or estimated from a given power
    source: str
    image_mj: float  # millijoules per image, of all that the meter covers
    idle_power_w: float | None  # of the idle device, measured before this candidate ran; None for an estimate
    above_idle_mj: float | None  # millijoules per image beyond the idle power; None for an estimate
    images: int  # that were classified under the meter, in so many seconds
    seconds: float


@dataclass(frozen=True)
class EnergyReport:
    """All figures, and a reason for each meter that gave none."""

    figures: tuple[EnergyFigures, ...]
    unavailable: tuple[str, ...]


def find_meters(external: Path | None = None, root: Path = Path("/"), *, gpu: bool = False) -> Found:
    """All meters that can be read here, those that cover more of the device first; a reason for each kind that cannot.

    Meters may overlap (see `covers`): never add up their energies. `external` is the log of a meter outside the device.
    """
    parts = [find_external(external)] if external is not None else []
    parts += [find_ina(root), find_rapl(root), *([find_nvml(root)] if gpu else [])]
    return [meter for meters, _ in parts for meter in meters], [reason for _, reasons in parts for reason in reasons]


def measure_energy(
    candidates: Sequence[Candidate],
    files: Sequence[Path],
    meters: Found,
    seconds: float,
    estimate_power_w: float | None = None,
    on_step: OnStep = ignore_steps,
) -> EnergyReport:
    """Run each candidate under each meter that `find_meters` found, classifying files over and over.

    Each takes so many seconds, after as many to measure the idle device; 0: no energy is measured. With
    `estimate_power_w`, an estimate from this power is added.
    """
    if not (files and seconds):
        return EnergyReport((), ("--energy-seconds 0" if files else "no image files",))
    usable, unavailable = list(meters[0]), list(meters[1])
    if estimate_power_w is not None:
        usable.append(Estimate("estimate", "what the given power covers", "power given by the user", estimate_power_w))
    total = len(candidates) * len(usable)
    figures: list[EnergyFigures] = []
    for meter in usable:
        try:
            for candidate in candidates:
                figures.append(_figures(meter, candidate, files, seconds))
                on_step(len(figures), total)
        except MeterError as error:
            unavailable.append(str(error))
    if len(figures) < total:
        on_step(total, total)
    return EnergyReport(tuple(figures), tuple(unavailable))


def _figures(meter: Meter, candidate: Candidate, files: Sequence[Path], seconds: float) -> EnergyFigures:
    """Classify files over and over for at least the given time."""
    idle_w = None
    if not isinstance(meter, Estimate):
        time.sleep(_SETTLE_S)
        idle = meter.measure(partial(time.sleep, seconds))
        if idle.seconds <= 0:
            raise MeterError(f"{meter.name}: no time passed during the measurement, so it has no power; measure longer")
        idle_w = idle.joules / idle.seconds
    images = 0

    def work() -> None:
        nonlocal images
        start = time.perf_counter()
        while time.perf_counter() - start < seconds or not images:
            candidate.classify(files[images % len(files)])
            images += 1

    energy = meter.measure(work)
    return EnergyFigures(
        identity=candidate.identity,
        meter=meter.name,
        covers=meter.covers,
        kind="estimated" if isinstance(meter, Estimate) else "measured",
        source=meter.source,
        image_mj=1e3 * energy.joules / images,
        idle_power_w=idle_w,
        above_idle_mj=None if idle_w is None else 1e3 * (energy.joules - idle_w * energy.seconds) / images,
        images=images,
        seconds=energy.seconds,
    )
