"""Power sensors on the supply rails of Jetson boards: INA3221 with up to three rails each, INA238 with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.benchmark.energy.meter import Found, Meter
from gfnet_dynn.benchmark.energy.sampling import REAL, PowerMeter, Timing
from gfnet_dynn.benchmark.energy.sysfs import read_number, read_text
from gfnet_dynn.errors import MeterError

_DRIVERS = "sys/bus/i2c/drivers"
_SENSORS = "*/hwmon/hwmon*"

# Rails that supply the whole module. VIN_SYS_5V0 is none of them: on AGX Orin and Thor it supplies memory and
# interfaces only; processor and GPU have their own rails.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "5V_IN")

# Rails that are supplied by another one; if that one is measured too, a sum would count them twice.
_FED_BY = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}

_NOT_CONNECTED = "NC"

# The sensors average over some milliseconds, and a reading of the bus takes about one.
INTERVAL_S = 0.05


@dataclass(frozen=True)
class Rail:
    """One channel of an INA3221.

    Attributes:
        label: set by the manufacturer of the board.
        folder: the sensor's files.
        channel: from 1.
    """

    label: str
    folder: Path
    channel: int

    def power_w(self) -> float:
        """Present power in watts.

        Raises:
            MeterError: the sensor cannot be read.
        """
        voltage_mv = read_number(self.folder / f"in{self.channel}_input")
        current_ma = read_number(self.folder / f"curr{self.channel}_input")
        return voltage_mv * current_ma * 1e-6


def find_ina(root: Path = Path("/"), timing: Timing = REAL) -> Found:
    """One meter for each INA238, and one for all INA3221.

    Args:
        root: of the file system.
        timing: clock and pause of the meters.
    """
    drivers = root / _DRIVERS
    singles = sorted((drivers / "ina238").glob(_SENSORS))
    triples = sorted((drivers / "ina3221").glob(_SENSORS))
    meters: list[Meter] = []
    reasons: list[str] = []
    for folder in singles:
        try:
            meters.append(_ina238(folder, timing))
        except MeterError as error:
            reasons.append(f"INA238: {error}")
    if triples:
        try:
            meters.append(_ina3221(triples, timing))
        except MeterError as error:
            reasons.append(f"INA3221: {error}")
    if not singles and not triples:
        reasons.append(f"INA3221, INA238: no sensor below {drivers}; Jetson boards have them")
    return meters, reasons


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
    address = folder.parents[1].name
    labels = (folder / name for name in ("power1_label", "in1_label", "label"))
    label = next((read_text(path) for path in labels if path.exists()), None)
    if label:
        covers = f"rail {label}"
    else:
        covers = "the rail of the sensor (on Jetson Thor VIN, the input of module and carrier board)"
    return _sampled(f"INA238 {address}", covers, str(file), lambda: read_number(file) * 1e-6, timing)


def _sampled(name: str, covers: str, files: str, read_power_w: Callable[[], float], timing: Timing) -> PowerMeter:
    read_power_w()  # fails now if the sensor cannot be read
    source = f"{files}, every {INTERVAL_S * 1e3:g} ms"
    return PowerMeter(name, covers, source, read_power_w, interval_s=INTERVAL_S, timing=timing)
