"""Energy counters of Intel and AMD processors in Linux (RAPL)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gfnet_dynn.benchmark.energy.meter import Found, Meter
from gfnet_dynn.benchmark.energy.sampling import REAL, Counter, CounterMeter, Timing
from gfnet_dynn.benchmark.energy.sysfs import read_number, read_text
from gfnet_dynn.errors import MeterError

_FOLDER = "sys/class/powercap"


def find_rapl(root: Path = Path("/"), timing: Timing = REAL) -> Found:
    """One meter for the whole platform (psys) if there is one, and one for all packages.

    Args:
        root: of the file system.
        timing: clock and pause of the meters.
    """
    meters: list[Meter] = []
    reasons: list[str] = []
    zones = sorted((root / _FOLDER).glob("intel-rapl:*"))
    try:
        names = {zone: read_text(zone / "name") for zone in zones}
    except MeterError as error:
        return [], [f"RAPL: {error}"]
    # Zones of other names (core, uncore, dram) are parts of a package.
    platforms = [zone for zone, name in names.items() if name == "psys"]
    packages = [zone for zone, name in names.items() if name.startswith("package")]
    if not platforms and not packages:
        pattern = root / _FOLDER / "intel-rapl:*"
        return [], [f"RAPL: no energy counter at {pattern}; ARM boards and most virtual machines have none"]
    numbers = ", ".join(names[zone].removeprefix("package-") for zone in packages)
    for group, name, covers in (
        (platforms, "RAPL psys", "whole platform, by the processor"),
        (packages, "RAPL package", f"processor package {numbers}"),
    ):
        if not group:
            continue
        try:
            meters.append(_meter(group, name, covers, timing))
        except MeterError as error:
            reasons.append(f"{name}: {error}")
    return meters, reasons


def _meter(zones: list[Path], name: str, covers: str, timing: Timing) -> CounterMeter:
    counters = tuple(
        Counter(partial(read_number, zone / "energy_uj"), 1e-6, read_number(zone / "max_energy_range_uj"))
        for zone in zones
    )
    meter = CounterMeter(name, covers, ", ".join(str(zone / "energy_uj") for zone in zones), counters, timing=timing)
    meter.read()  # fails now if permissions are missing
    return meter
