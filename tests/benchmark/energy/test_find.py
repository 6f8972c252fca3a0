from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy_use import find_meters
from tests.benchmark.energy.metronome import write
from tests.benchmark.energy.nvidia import Gpu, install, uninstall


def test_all_kinds_are_found_and_the_widest_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text("time_s,power_w\n", encoding="utf-8")
    write(
        tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1",
        in1_label="VDD_IN",
        in1_input=5000,
        curr1_input=1000,
    )
    write(
        tmp_path / "sys/class/powercap/intel-rapl:0", name="package-0", energy_uj=1, max_energy_range_uj=65_000_000_000
    )
    install(monkeypatch, Gpu(energy_mj=1))
    meters, reasons = find_meters(log, tmp_path, gpu=True)
    assert [meter.name for meter in meters] == ["external meter", "INA3221", "RAPL package", "NVML GPU 0"]
    assert reasons == []


def test_where_nothing_is_found_each_kind_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch)
    meters, reasons = find_meters(tmp_path / "gone.csv", tmp_path, gpu=True)
    assert meters == []
    assert [reason.split(":")[0] for reason in reasons] == ["external meter", "INA3221, INA238", "RAPL", "NVML"]
    assert all("\n" not in reason for reason in reasons)


def test_an_external_meter_is_looked_for_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch)
    _, reasons = find_meters(root=tmp_path)
    assert not any(reason.startswith("external") for reason in reasons)


def test_gpus_are_looked_for_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Gpu(energy_mj=1))
    assert find_meters(root=tmp_path)[0] == []
    assert [meter.name for meter in find_meters(root=tmp_path, gpu=True)[0]] == ["NVML GPU 0"]
