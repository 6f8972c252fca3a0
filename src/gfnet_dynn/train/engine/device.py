"""Device and precision of a run."""

from __future__ import annotations

import atexit
import logging
import warnings
from datetime import timedelta
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed

from gfnet_dynn.errors import OptionError, TrainingError
from gfnet_dynn.runtime.engine import most_threads
from gfnet_dynn.system.torchrun import Place, torchrun_place

_LONGEST_WAIT = timedelta(days=7)  # for the first process, which alone splits, fits and evaluates; who dies is noticed


def set_threads(threads: int | None) -> None:
    """Limit this process's threads, unless None; an OptionError below one, or above what is useful on this machine."""
    if threads is None:
        return
    if not 1 <= threads <= most_threads():
        raise OptionError(f"--threads must lie from 1 to {most_threads()} on this machine, not {threads}")
    torch.set_num_threads(threads)


def choose_device(name: str) -> str:
    """The device for `auto` (a GPU where there is one), or the one named; a TrainingError where that is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available.get(name, False):
        there = ", ".join(device for device, present in available.items() if present)
        raise TrainingError(f"no device {name!r} on this machine; available: {there}")
    return name


def choose_precision(name: str, device: str) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """The precision for `auto`: half where the device computes it faster, bfloat16 with its wider range if it can.

    A CPU does if it has AMX: GFNets then train 1.7 × as fast (measured on two cores, gfnet-192x12, 128 px).
    """
    if name == "auto":
        if device == "cpu" and has_amx():
            return "bf16-mixed"
        if device != "cuda":
            return "32-true"
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if name == "16-mixed" and device == "cpu":
        raise TrainingError(
            "16-mixed needs a GPU: on the CPU use 32-true, or bf16-mixed where it has AMX or AVX512-BF16"
        )
    return name  # type: ignore[return-value] # one of the three, as just checked


def has_amx() -> bool:
    """Whether the processor has Intel's matrix extension for bfloat16."""
    return bool(torch.cpu._is_amx_tile_supported())


def make_fabric(device: str, precision: str) -> Fabric:
    """A fabric of one device, or, in a process that torchrun started with others, of this one's part in the group.

    A TrainingError where there is no such device, or there are fewer GPUs than processes.
    """
    accelerator, place = choose_device(device), torchrun_place()
    settings: dict[str, Any] = {"accelerator": accelerator, "precision": choose_precision(precision, accelerator)}
    with warnings.catch_warnings():
        # It advises on hardware that the user decided about already.
        warnings.simplefilter("ignore")
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(**settings, **(_in_group(place, accelerator) if place else {"devices": 1}))
        if place:
            _join(fabric)
    return fabric


def _in_group(place: Place, accelerator: str) -> dict[str, Any]:
    """Settings of a fabric whose process is one of several."""
    if accelerator == "mps" or (accelerator == "cuda" and place.local_processes > torch.cuda.device_count()):
        raise TrainingError(
            f"torchrun started {place.local_processes} processes on this machine for {torch.cuda.device_count()} GPUs: "
            "start one for each, or train with --device cpu"
        )
    backend = "cpu:gloo,cuda:nccl" if accelerator == "cuda" else "gloo"
    return {
        "strategy": DDPStrategy(process_group_backend=backend, timeout=_LONGEST_WAIT),
        "devices": place.local_processes,
        "num_nodes": place.machines,
        "plugins": TorchElasticEnvironment(),
    }


def _join(fabric: Fabric) -> None:
    first_time = not distributed.is_initialized()
    try:
        fabric.launch()
    except RuntimeError as error:  # as all of torch.distributed
        raise TrainingError(f"the processes that torchrun started do not find each other: {error}") from error
    if first_time:
        atexit.register(distributed.destroy_process_group)
