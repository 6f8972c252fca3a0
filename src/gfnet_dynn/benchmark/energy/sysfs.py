"""Meters that Linux shows as files: energy counters of Intel and AMD processors (RAPL), power sensors of Jetson boards.

The sensors sit on supply rails: INA3221 with up to three rails each, INA238 with one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gfnet_dynn.benchmark.energy.meter import REAL, Counter, CounterMeter, Found, Meter, PowerMeter, Timing
from gfnet_dynn.errors import MeterError

_RAPL = "sys/class/powercap"
_DRIVERS, _SENSORS = "sys/bus/i2c/drivers", "*/hwmon/hwmon*"

# Rails that supply the whole module. VIN_SYS_5V0 is none of them: on AGX Orin and Thor it supplies memory and
# interfaces only; processor and GPU have their own rails.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "5V_IN")

# Rails that are supplied by another one; if that one is measured too, a sum would count them twice.
_FED_BY = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}

_NOT_CONNECTED = "NC"

# The sensors average over some milliseconds, and a reading of the bus takes about one.
INTERVAL_S = 0.05


def read_text(path: Path) -> str:
    """Content of a file, stripped; raises MeterError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError as error:
        raise MeterError(
            f"{path} is not readable for this user: run as root, or allow it with `sudo chmod a+r {path}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise MeterError(
            f"{path} cannot be read ({reason}): check that the sensor is on and its driver loaded"
        ) from error


def read_number(path: Path) -> int:
    """Whole number in a file; raises MeterError if there is none."""
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise MeterError(f"{path} contains {text[:40]!r}, not a whole number: check the sensor's driver") from error


def find_rapl(root: Path = Path("/"), timing: Timing = REAL) -> Found:
    """One meter for the whole platform (psys) if there is one, and one for all packages, below a file system's root."""
    try:
        names = {zone: read_text(zone / "name") for zone in sorted((root / _RAPL).glob("intel-rapl:*"))}
    except MeterError as error:
        return [], [f"RAPL: {error}"]
    # Zones of other names (core, uncore, dram) are parts of a package.
    platforms = [zone for zone, name in names.items() if name == "psys"]
    packages = [zone for zone, name in names.items() if name.startswith("package")]
    if not platforms and not packages:
        pattern = root / _RAPL / "intel-rapl:*"
        return [], [f"RAPL: no energy counter at {pattern}; ARM boards and most virtual machines have none"]
    numbers = ", ".join(names[zone].removeprefix("package-") for zone in packages)
    groups = (
        (platforms, "RAPL psys", "whole platform, by the processor"),
        (packages, "RAPL package", f"processor package {numbers}"),
    )
    return _made([(name, partial(_counters, zones, name, covers, timing)) for zones, name, covers in groups if zones])


def _counters(zones: list[Path], name: str, covers: str, timing: Timing) -> CounterMeter:
    counters = tuple(
        Counter(partial(read_number, zone / "energy_uj"), 1e-6, read_number(zone / "max_energy_range_uj"))
        for zone in zones
    )
    meter = CounterMeter(name, covers, ", ".join(str(zone / "energy_uj") for zone in zones), counters, timing=timing)
    meter.read()  # fails now if permissions are missing
    return meter


def find_ina(root: Path = Path("/"), timing: Timing = REAL) -> Found:
    """One meter for each INA238, and one for all INA3221, below a file system's root."""
    drivers = root / _DRIVERS
    singles = sorted((drivers / "ina238").glob(_SENSORS))
    triples = sorted((drivers / "ina3221").glob(_SENSORS))
    if not singles and not triples:
        return [], [f"INA3221, INA238: no sensor below {drivers}; Jetson boards have them"]
    makers: list[tuple[str, Callable[[], Meter]]] = [("INA238", partial(_ina238, each, timing)) for each in singles]
    return _made([*makers, *([("INA3221", partial(_ina3221, triples, timing))] if triples else [])])


def _made(makers: list[tuple[str, Callable[[], Meter]]]) -> Found:
    """The meters, and for those that cannot be read the name and the reason."""
    meters: list[Meter] = []
    reasons: list[str] = []
    for name, make in makers:
        try:
            meters.append(make())
        except MeterError as error:
            reasons.append(f"{name}: {error}")
    return meters, reasons


class Rail(NamedTuple):
    """One channel of an INA3221, from 1; the manufacturer of the board has set its label."""

    label: str
    folder: Path
    channel: int

    def power_w(self) -> float:
        """Present power in watts; raises MeterError."""
        voltage_mv = read_number(self.folder / f"in{self.channel}_input")
        return voltage_mv * read_number(self.folder / f"curr{self.channel}_input") * 1e-6


def _ina3221(folders: list[Path], timing: Timing) -> PowerMeter:
    rails = [rail for folder in folders for rail in _rails(folder)]
    if not rails:
        raise MeterError(f"{folders[0]} names no rail (in*_label): check the board's device tree")
    by_label = {rail.label: rail for rail in rails}
    whole = next((by_label[label] for label in INPUT_RAILS if label in by_label), None)
    parts = [whole] if whole else [rail for rail in rails if _FED_BY.get(rail.label) not in by_label]
    if whole:
        covers = f"module input rail {whole.label}: the module, without its carrier board"
    else:
        covers = f"sum of the rails {', '.join(rail.label for rail in parts)}, which may not be the whole board"
    files = ", ".join(str(rail.folder / f"{{in,curr}}{rail.channel}_input") for rail in parts)
    return _sampled("INA3221", covers, files, lambda: sum(rail.power_w() for rail in parts), timing)


def _rails(folder: Path) -> list[Rail]:
    """Rails of the sensor that are named, connected and enabled."""
    rails = []
    for channel in (1, 2, 3):  # the driver lists shunt voltages beyond
        label, switch = folder / f"in{channel}_label", folder / f"in{channel}_enable"
        if not label.exists() or (switch.exists() and read_text(switch) == "0"):
            continue
        name = read_text(label)
        if name.upper() != _NOT_CONNECTED:
            rails.append(Rail(name, folder, channel))
    return rails


def _ina238(folder: Path, timing: Timing) -> PowerMeter:
    file = folder / "power1_input"
    labels = (folder / name for name in ("power1_label", "in1_label", "label"))
    label = next((read_text(path) for path in labels if path.exists()), None)
    unnamed = "the rail of the sensor (on Jetson Thor VIN, the input of module and carrier board)"
    covers, name = f"rail {label}" if label else unnamed, f"INA238 {folder.parents[1].name}"
    return _sampled(name, covers, str(file), lambda: read_number(file) * 1e-6, timing)


def _sampled(name: str, covers: str, files: str, read_power_w: Callable[[], float], timing: Timing) -> PowerMeter:
    read_power_w()  # fails now if the sensor cannot be read
    source = f"{files}, every {INTERVAL_S * 1e3:g} ms"
    return PowerMeter(name, covers, source, read_power_w, interval_s=INTERVAL_S, timing=timing)
