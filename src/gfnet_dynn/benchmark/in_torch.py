"""Networks in torch: latency at each exit by running it, not by adding up parts; candidates of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfnet_dynn.benchmark.candidates import ExitCost, Identity, forced_thresholds, labels_of
from gfnet_dynn.benchmark.measurement import time_in_turns
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits import ExitArrays, first_exit, per_exit
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.model.early_exit import Decision, EarlyExitNet
from gfnet_dynn.model.gfnet import GlobalFilter
from gfnet_dynn.progress import OnStep, ignore_steps
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import NetSpec
from gfnet_dynn.system.machine import processor


def measure_exits(
    net: EarlyExitNet, images: Tensor, repeats: int, on_step: OnStep = ignore_steps
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    """Time each image up to each exit, batch 1, with the forward pass that stops there; the median of the rounds.

    The network is in evaluation mode; images are normalised, [N, 3, S, S], on its device. Returns milliseconds
    [N, G + 1], and the conditions as JSON values.
    """

    def run(exit_index: int, row: int) -> None:
        net.decide(images[row : row + 1], forced_thresholds(exit_index, len(net.gates)))
        synchronise(images.device)

    times = time_in_turns([partial(run, index) for index in range(len(net.gates) + 1)], len(images), repeats, on_step)
    setting = {
        "engine": f"torch {torch.__version__} eager",
        "device": f"{images.device.type}: {processor_of(images.device)}",
        "threads": torch.get_num_threads(),
        "batch": 1,
        "images": len(images),
        "repeats": repeats,
        "scope": "network only: decoding, resizing and normalisation are not timed",
    }
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


class TorchCandidate:
    """A network in torch whose exits stop the computation; the policy's score is the learned gate."""

    def __init__(
        self,
        net: EarlyExitNet,
        spec: NetSpec,
        policy: Policy,
        about: Identity,
        *,
        trained: bool,
        decode: DecodeOptions = DEFAULT,
    ) -> None:
        """Wrap a network in evaluation mode, on the device that it will run on; not shared with another candidate."""
        self._net, self._spec, self._trained = net, spec, trained
        self._thresholds = per_exit(policy.thresholds, len(net.gates))
        self._device = next(net.parameters()).device
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (spec.input.mean, spec.input.std)
        )
        self._about, self._decode = about, decode

    @property
    def identity(self) -> Identity:
        """Which network."""
        return replace(self._about, device=self.device_name)

    @property
    def device_name(self) -> str:
        """`cpu`, or the name of the GPU."""
        return "cpu" if self._device.type == "cpu" else processor_of(self._device)

    @property
    def exits(self) -> Sequence[ExitCost]:
        """All exits."""
        names = [*(f"exit {index + 1}" for index in range(len(self._net.gates))), "final"]
        return [ExitCost(*each) for each in zip(names, self._net.exit_costs(), strict=True)]

    def forced_to(self, exit_index: int) -> Callable[[Images], object]:
        """All blocks up to the exit."""
        thresholds = forced_thresholds(exit_index, len(self._net.gates))
        return lambda image: self._finished(self._net.decide(self._tensor(image), thresholds))

    def decide(self, image: Images) -> int:
        """By the gates."""
        return int(self._run(image).exits[0])

    def read(self, file: Path) -> Images:
        """Decode and fit."""
        return load_input(file, self._spec.input, self._decode)[None]

    def classify(self, file: Path) -> str:
        """From the file to the label."""
        return self._spec.classes[int(self._run(self.read(file)).logits[0].argmax())]

    @torch.inference_mode()
    def exit_outputs(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """One image after the other, as when it is timed; None for fresh weights."""
        labels = labels_of(files, self._spec.classes)
        if labels is None or not self._trained:
            return None
        outputs = [self._net(self._tensor(images[row : row + 1])) for row in range(len(images))]
        logits = torch.cat([each.logits for each in outputs]).cpu().numpy()
        return ExitArrays(logits, torch.cat([each.gate_logits for each in outputs]).sigmoid().cpu().numpy(), labels)

    def _run(self, image: Images) -> Decision:
        return self._finished(self._net.decide(self._tensor(image), self._thresholds))

    def _finished(self, decision: Decision) -> Decision:
        synchronise(self._device)
        return decision

    def _tensor(self, image: Images) -> Tensor:
        pixels = torch.from_numpy(image).to(self._device).permute(0, 3, 1, 2)
        return (pixels / 255 - self._mean) / self._std


class PublishedCandidate(TorchCandidate):
    """The same as in the published code: filters by FFT, every block runs, then the exit is chosen."""

    def __init__(self, net: EarlyExitNet, *arguments: Any, **options: Any) -> None:
        super().__init__(net, *arguments, **options)
        for module in net.modules():
            if isinstance(module, GlobalFilter):
                module.by_products = False

    @property
    def exits(self) -> Sequence[ExitCost]:
        """Only the final one: all blocks have run when an exit is chosen."""
        return [ExitCost("final", 1.0)]

    def forced_to(self, exit_index: int) -> Callable[[Images], object]:
        """All blocks."""
        return self._run

    def decide(self, image: Images) -> int:
        """All blocks, whichever exit is chosen."""
        self._run(image)
        return 0

    def exit_outputs(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """None: the answers are those of the network whose exits stop the computation."""
        return None

    @torch.inference_mode()
    def _run(self, image: Images) -> Decision:
        logits, gate_logits = self._net(self._tensor(image))
        exits = torch.from_numpy(first_exit(gate_logits.sigmoid().cpu().numpy(), self._thresholds))
        return self._finished(Decision(logits[:, int(exits[0])], exits))
