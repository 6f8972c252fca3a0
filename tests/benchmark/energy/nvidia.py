"""A pynvml that knows only what the tests ask it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import pytest


class NVMLError(Exception):
    """As pynvml's."""


@dataclass
class Gpu:
    """None is a value that the GPU does not report."""

    name: str | bytes = "Accelerator 9"
    energy_mj: int | None = None
    power_mw: int | None = None


def reported(value: int | None) -> int:
    if value is None:
        raise NVMLError("Not Supported")
    return value


def install(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, driver: bool = True) -> None:
    """Put a pynvml with these GPUs in the place of the real one, which need not be there."""
    initialised = False

    def init() -> None:
        nonlocal initialised
        if not driver:
            raise NVMLError("NVML Shared Library Not Found")
        initialised = True

    def count() -> int:
        assert initialised
        return len(gpus)

    module = ModuleType("pynvml")
    vars(module).update(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlDeviceGetCount=count,
        nvmlDeviceGetHandleByIndex=lambda index: gpus[index],
        nvmlDeviceGetName=lambda gpu: gpu.name,
        nvmlDeviceGetTotalEnergyConsumption=lambda gpu: reported(gpu.energy_mj),
        nvmlDeviceGetPowerUsage=lambda gpu: reported(gpu.power_mw),
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide pynvml, installed or not."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
