"""Time of one image through the network at each exit, measured by running it, not by adding up parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.system.processor import processor


@dataclass(frozen=True)
class LatencySetting:
    """Under what a latency was measured.

    Attributes:
        engine: what ran the network.
        device: kind of processor.
        threads: of the engine.
        batch: images at once.
        images: that were timed.
        repeats: of each; their median counts.
        scope: what is inside the clock.
    """

    engine: str
    device: str
    threads: int
    batch: int
    images: int
    repeats: int
    scope: str


def forced_exit(exit_index: int, num_gates: int) -> tuple[float, ...]:
    """Thresholds with which every sample leaves at one exit; at the final classifier for `exit_index` G."""
    return tuple(0.0 if index == exit_index else NEVER for index in range(num_gates))


def measure_exits(
    net: EarlyExitNet, images: Tensor, repeats: int, after_round: Callable[[int], None] | None = None
) -> tuple[npt.NDArray[np.float64], LatencySetting]:
    """Milliseconds of each image when it leaves at each exit, batch 1, by the forward pass that really stops.

    The exits take turns within a round, so that a change of the machine's speed meets all of them alike.

    Args:
        net: in evaluation mode.
        images: normalised, [N, 3, S, S], on the network's device.
        repeats: rounds; the median over them counts.
        after_round: told the number of rounds done.

    Returns:
        [N, G + 1] in milliseconds, and under what they were measured.
    """
    calls = [exit_call(net, index) for index in range(len(net.gates) + 1)]
    return measure_calls(calls, images, repeats, after_round), latency_setting(images, repeats)


def exit_call(net: EarlyExitNet, exit_index: int) -> Callable[[Tensor], object]:
    """One image in, out at one exit."""
    thresholds = forced_exit(exit_index, len(net.gates))
    return lambda image: net.decide(image, thresholds)


def measure_calls(
    calls: Sequence[Callable[[Tensor], object]],
    images: Tensor,
    repeats: int,
    after_round: Callable[[int], None] | None = None,
) -> npt.NDArray[np.float64]:
    """Milliseconds of several ways to treat an image, the median over the rounds.

    Args:
        calls: each takes one image [1, 3, S, S].
        images: [N, 3, S, S].
        repeats: rounds.
        after_round: told the number of rounds done.

    Returns:
        [N, number of calls] in milliseconds.
    """
    singles = [images[row : row + 1] for row in range(len(images))]
    for call in calls:  # first runs allocate and plan
        for image in singles[:2]:
            call(image)
    times = np.empty((repeats, len(singles), len(calls)))
    for turn in range(repeats):
        for row, image in enumerate(singles):
            for column, call in enumerate(calls):
                times[turn, row, column] = _milliseconds(call, image)
        if after_round:
            after_round(turn + 1)
    return np.asarray(np.median(times, axis=0))


def _milliseconds(call: Callable[[Tensor], object], image: Tensor) -> float:
    _synchronise(image.device)
    began = time.perf_counter()
    call(image)
    _synchronise(image.device)
    return (time.perf_counter() - began) * 1e3


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def latency_setting(images: Tensor, repeats: int) -> LatencySetting:
    """Describe a measurement made now on these images."""
    return LatencySetting(
        engine=f"torch {torch.__version__} eager",
        device=torch.cuda.get_device_name(images.device) if images.is_cuda else f"{images.device.type}: {processor()}",
        threads=torch.get_num_threads(),
        batch=1,
        images=len(images),
        repeats=repeats,
        scope="network only: the image is decoded, resized and normalised before the clock starts",
    )
