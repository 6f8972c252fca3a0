"""Latency of a network in torch at each exit, measured by running it, not by adding up parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfnet_dynn.benchmark.candidates import forced_thresholds
from gfnet_dynn.benchmark.timing import time_in_turns
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.system.machine import processor


@dataclass(frozen=True)
class LatencySetting:
    """Conditions of a latency measurement.

    Attributes:
        engine: with its version.
        device: kind and name of the processor.
        threads: of the engine.
        batch: images at once.
        images: different images that were timed.
        repeats: of each image; the median counts.
        scope: what was timed.
    """

    engine: str
    device: str
    threads: int
    batch: int
    images: int
    repeats: int
    scope: str


def measure_exits(
    net: EarlyExitNet, images: Tensor, repeats: int, after_round: Callable[[int], None] | None = None
) -> tuple[npt.NDArray[np.float64], LatencySetting]:
    """Time each image up to each exit, batch 1, with the forward pass that stops there.

    Args:
        net: in evaluation mode.
        images: normalised, [N, 3, S, S], on the network's device.
        repeats: rounds; the median over them counts.
        after_round: called with the number of rounds that are done.

    Returns:
        Milliseconds [N, G + 1], and the conditions.
    """

    def run(exit_index: int, row: int) -> None:
        net.decide(images[row : row + 1], forced_thresholds(exit_index, len(net.gates)))
        synchronise(images.device)

    def on_step(done: int, total: int) -> None:
        del total
        if after_round:
            after_round(done)

    times = time_in_turns([partial(run, index) for index in range(len(net.gates) + 1)], len(images), repeats, on_step)
    setting = LatencySetting(
        engine=f"torch {torch.__version__} eager",
        device=f"{images.device.type}: {processor_of(images.device)}",
        threads=torch.get_num_threads(),
        batch=1,
        images=len(images),
        repeats=repeats,
        scope="network only: decoding, resizing and normalisation are not timed",
    )
    return np.asarray(np.median(times, axis=0)), setting


def processor_of(device: torch.device) -> str:
    """Name of the processor that a device is."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
