from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy.sysfs import find_rapl
from tests.benchmark.energy.metronome import Metronome, write


def zone(root: Path, number: str, name: str, energy_uj: int = 0, highest: int = 262_143_328_850) -> Path:
    folder = root / "sys/class/powercap" / f"intel-rapl:{number}"
    return write(folder, name=name, energy_uj=energy_uj, max_energy_range_uj=highest)


def forbid(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """The rights of root, under which tests may run, do not end at a file's mode."""
    read_text = Path.read_text

    def guarded(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, encoding, errors)

    monkeypatch.setattr(Path, "read_text", guarded)


def test_a_package_is_measured_without_its_parts(tmp_path: Path) -> None:
    package = zone(tmp_path, "0", "package-0", energy_uj=1_000_000)
    core = zone(tmp_path, "0:0", "core", energy_uj=5)
    metronome = Metronome(0)
    meters, reasons = find_rapl(tmp_path, metronome.timing)
    assert reasons == []
    (meter,) = meters
    assert (meter.name, meter.covers) == ("RAPL package", "processor package 0")
    assert meter.source == str(package / "energy_uj")

    def work() -> None:
        metronome.now += 2.0
        write(package, energy_uj=31_000_000)
        write(core, energy_uj=20_000_000)

    energy = meter.measure(work)
    assert energy.joules == pytest.approx(30.0)
    assert energy.joules / energy.seconds == pytest.approx(15.0)


def test_a_counter_that_starts_over_is_followed(tmp_path: Path) -> None:
    package = zone(tmp_path, "0", "package-0", energy_uj=62_000_000, highest=65_000_000)

    def beat(number: int) -> None:
        write(package, energy_uj=1_000_000 if number == 1 else 64_000_000)

    metronome = Metronome(2, beat)
    ((meter,), _) = find_rapl(tmp_path, metronome.timing)

    def work() -> None:
        metronome.wait()
        write(package, energy_uj=2_000_000)

    energy = meter.measure(work)
    assert energy.joules == pytest.approx(4 + 63 + 3)
    assert energy.seconds == 120.0


def test_packages_are_added_and_the_platform_stands_alone(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "0", "package-0"), zone(tmp_path, "1", "package-1")
    platform = zone(tmp_path, "2", "psys")
    metronome = Metronome(0)
    meters, reasons = find_rapl(tmp_path, metronome.timing)
    assert reasons == []
    (whole, packages), joules = meters, list[float]()
    assert whole.name == "RAPL psys"
    assert "whole platform" in whole.covers
    assert whole.source == str(platform / "energy_uj")
    assert packages.covers == "processor package 0, 1"
    assert packages.source == f"{first / 'energy_uj'}, {second / 'energy_uj'}"

    def work() -> None:
        write(first, energy_uj=2_000_000)
        write(second, energy_uj=3_000_000)
        write(platform, energy_uj=9_000_000)

    assert whole.measure(lambda: joules.append(packages.measure(work).joules)).joules == pytest.approx(9.0)
    assert joules == pytest.approx([5.0])


def test_a_forbidden_counter_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = zone(tmp_path, "0", "package-0")
    zone(tmp_path, "1", "psys")
    forbid(monkeypatch, package / "energy_uj")
    meters, reasons = find_rapl(tmp_path)
    assert [meter.name for meter in meters] == ["RAPL psys"]
    assert reasons == [
        f"RAPL package: {package / 'energy_uj'} is not readable for this user: run as root, or allow it with"
        f" `sudo chmod a+r {package / 'energy_uj'}`"
    ]


def test_one_forbidden_package_leaves_no_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "0", "package-0")
    forbid(monkeypatch, zone(tmp_path, "1", "package-1") / "energy_uj")
    meters, (reason,) = find_rapl(tmp_path)
    assert meters == []
    assert "intel-rapl:1/energy_uj is not readable" in reason


def test_a_zone_without_a_name_is_reported(tmp_path: Path) -> None:
    (zone(tmp_path, "0", "package-0") / "name").unlink()
    meters, (reason,) = find_rapl(tmp_path)
    assert meters == []
    assert reason.startswith("RAPL: ")
    assert "intel-rapl:0/name cannot be read" in reason


@pytest.mark.parametrize("other", [None, "dram"])
def test_without_counters_it_says_where_it_looked(tmp_path: Path, other: str | None) -> None:
    if other:
        zone(tmp_path, "0", other)
    meters, (reason,) = find_rapl(tmp_path)
    assert meters == []
    assert reason.startswith(f"RAPL: no energy counter at {tmp_path / 'sys/class/powercap/intel-rapl:*'}")
