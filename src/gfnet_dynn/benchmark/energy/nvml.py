"""Energy of NVIDIA GPUs by the driver's management library, through the optional package pynvml."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from gfnet_dynn.benchmark.energy.meter import REAL, Counter, CounterMeter, Found, Meter, PowerMeter, Timing
from gfnet_dynn.errors import MeterError

_DRIVER = "proc/driver/nvidia/version"

# The driver updates its power reading about ten times a second; since Ampere it is a mean over the last second.
INTERVAL_S = 0.1


def find_nvml(root: Path = Path("/"), timing: Timing = REAL) -> Found:
    """One meter for each GPU: its energy counter, or its sampled power if it has none."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        if (root / _DRIVER).exists():
            return [], ["NVML: package pynvml is not installed; pip install nvidia-ml-py"]
        return [], [f"NVML: no NVIDIA driver ({root / _DRIVER}) and no package pynvml"]
    try:
        nvml.nvmlInit()  # never shut down: the returned meters need it until the process ends
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return [], [f"NVML: {error}; check the NVIDIA driver with nvidia-smi"]
    meters: list[Meter] = []
    reasons: list[str] = [] if count else ["NVML: the driver reports no GPU"]
    for index in range(count):
        try:
            meters.append(_gpu(nvml, index, timing))
        except nvml.NVMLError as error:
            reasons.append(f"NVML: GPU {index} reports neither energy nor power ({error})")
    return meters, reasons


def _gpu(nvml: Any, index: int, timing: Timing) -> Meter:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    model = nvml.nvmlDeviceGetName(handle)
    model = model.decode() if isinstance(model, bytes) else model  # old versions of pynvml
    name, covers = f"NVML GPU {index}", f"GPU {index}, {model}, with its memory"
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        nvml.nvmlDeviceGetPowerUsage(handle)
        milliwatts = _reader(nvml, nvml.nvmlDeviceGetPowerUsage, handle, name)
        source = f"nvmlDeviceGetPowerUsage, every {INTERVAL_S * 1e3:g} ms"
        return PowerMeter(name, covers, source, lambda: milliwatts() * 1e-3, interval_s=INTERVAL_S, timing=timing)
    millijoules = _reader(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle, name)
    counter = Counter(millijoules, 1e-3)
    return CounterMeter(name, covers, "nvmlDeviceGetTotalEnergyConsumption", (counter,), timing=timing)


def _reader(nvml: Any, call: Callable[[Any], int], handle: Any, name: str) -> Callable[[], int]:
    def read() -> int:
        try:
            return call(handle)
        except nvml.NVMLError as error:
            raise MeterError(f"{name} cannot be read ({error}): check the GPU with nvidia-smi") from error

    return read
