from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.benchmark.energy.nvml import find_nvml
from gfnet_dynn.errors import MeterError
from tests.benchmark.energy.metronome import Metronome, write
from tests.benchmark.energy.nvidia import Gpu, install, uninstall


@pytest.mark.parametrize("name", ["Accelerator 9", b"Accelerator 9"])
def test_the_energy_counter_is_read_where_there_is_one(monkeypatch: pytest.MonkeyPatch, name: str | bytes) -> None:
    gpu = Gpu(name, energy_mj=7_000, power_mw=1)
    install(monkeypatch, gpu)
    metronome = Metronome(0)
    ((meter,), reasons) = find_nvml(timing=metronome.timing)
    assert reasons == []
    assert (meter.name, meter.covers) == ("NVML GPU 0", "GPU 0, Accelerator 9, with its memory")
    assert meter.source == "nvmlDeviceGetTotalEnergyConsumption"

    def work() -> None:
        metronome.now += 2.0
        gpu.energy_mj = 907_000

    energy = meter.measure(work)
    assert energy.joules == pytest.approx(900.0)
    assert energy.joules / energy.seconds == pytest.approx(450.0)


def test_a_counter_that_went_back_gives_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(energy_mj=7_000)
    install(monkeypatch, gpu)
    ((meter,), _) = find_nvml(timing=Metronome(0).timing)

    def work() -> None:
        gpu.energy_mj = 0

    with pytest.raises(MeterError, match="went backwards"):
        meter.measure(work)


def test_power_is_sampled_where_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(power_mw=60_000)
    install(monkeypatch, gpu)

    def beat(_: int) -> None:
        gpu.power_mw = 80_000

    metronome = Metronome(3, beat)
    ((meter,), reasons) = find_nvml(timing=metronome.timing)
    assert reasons == []
    assert meter.source == "nvmlDeviceGetPowerUsage, every 100 ms"
    energy = meter.measure(metronome.wait)
    assert energy.joules == pytest.approx(7.0 + 8.0 + 8.0)
    assert energy.seconds == pytest.approx(0.3)


def test_each_gpu_has_a_meter_and_one_that_tells_nothing_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Gpu(energy_mj=1), Gpu(), Gpu(power_mw=1))
    meters, reasons = find_nvml()
    assert [meter.name for meter in meters] == ["NVML GPU 0", "NVML GPU 2"]
    assert reasons == ["NVML: GPU 1 reports neither energy nor power (Not Supported)"]


def test_a_gpu_that_is_lost_meanwhile_gives_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(energy_mj=1)
    install(monkeypatch, gpu)
    ((meter,), _) = find_nvml(timing=Metronome(0).timing)

    def work() -> None:
        gpu.energy_mj = None

    with pytest.raises(MeterError, match=r"NVML GPU 0 cannot be read \(Not Supported\)"):
        meter.measure(work)


def test_a_driver_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Gpu(), driver=False)
    assert find_nvml() == ([], ["NVML: NVML Shared Library Not Found; check the NVIDIA driver with nvidia-smi"])


def test_a_driver_without_gpus_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert find_nvml() == ([], ["NVML: the driver reports no GPU"])


def test_with_a_driver_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uninstall(monkeypatch)
    write(tmp_path / "proc/driver/nvidia", version="NVRM version: 1")
    assert find_nvml(tmp_path) == ([], ["NVML: package pynvml is not installed; pip install nvidia-ml-py"])


def test_without_a_driver_nothing_is_to_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uninstall(monkeypatch)
    meters, (reason,) = find_nvml(tmp_path)
    assert meters == []
    assert reason.startswith("NVML: no NVIDIA driver")
    assert "pip install" not in reason
