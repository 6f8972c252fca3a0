"""Torch as candidate of a device benchmark: what a deployed network is faster than."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfnet_dynn.benchmark.candidates import Exit, Identity
from gfnet_dynn.benchmark.torch_latency import forced_exit
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import per_exit
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.model.early_exit import Decision, EarlyExitNet
from gfnet_dynn.model.gate import Gate
from gfnet_dynn.model.gfnet import GlobalFilter
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import NetSpec

_Way = Literal["exits", "published"]

_NAMES: Mapping[_Way, str] = {"exits": "eager, real exits", "published": "eager, as published"}


class TorchCandidate:
    """A trained network in torch, as the research code runs it (`published`) or with real exits (`exits`).

    As published, filters go through the FFT and no block is ever skipped: exits are chosen, by gates in NumPy, after
    all has been computed.
    """

    def __init__(
        self, net: EarlyExitNet, spec: NetSpec, thresholds: Sequence[float], like: Identity, way: _Way
    ) -> None:
        """Wrap a network.

        Args:
            net: trained, in evaluation mode, on the CPU; for this candidate alone.
            spec: its description.
            thresholds: of its gates.
            like: of the bundle that was exported from it.
            way: how it is run.
        """
        self._net, self._spec, self._way = net.eval(), spec, way
        for module in net.modules():
            if isinstance(module, GlobalFilter):
                module.by_products = way == "exits"
        self._thresholds = per_exit(tuple(thresholds), len(net.gates))
        self.identity = replace(
            like, name=_NAMES[way], engine=f"torch {torch.__version__}", precision="fp32", sha256=None, size_bytes=None
        )
        self._mean, self._std = (np.array(values, np.float32) for values in (spec.input.mean, spec.input.std))

    @property
    def exits(self) -> Sequence[Exit]:
        """All exits; as published only the last, which is when all have been computed."""
        if self._way == "published":
            return [Exit("final", 1.0)]
        names = [*(f"exit {index + 1}" for index in range(len(self._net.gates))), "final"]
        return [Exit(*each) for each in zip(names, self._net.exit_costs(), strict=True)]

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """All blocks up to one exit; as published, all blocks."""
        if self._way == "published":
            return lambda image: self._after_all_blocks(self._tensor(image))
        thresholds = forced_exit(exit_index, len(self._net.gates))
        return lambda image: self._net.decide(self._tensor(image), thresholds)

    def decide(self, image: Images) -> int:
        """By its thresholds; as published, all blocks run whatever they say."""
        taken = int(self._run(image).exits[0])
        return 0 if self._way == "published" else taken

    def read(self, file: Path) -> Images:
        """Decode and fit."""
        return load_input(file, self._spec.input)[None]

    def answer(self, file: Path) -> str:
        """From file to label."""
        return self._spec.classes[int(self._run(self.read(file)).logits[0].argmax())]

    def judge(self, images: Images, files: Sequence[Path]) -> ExitArrays | None:
        """Not asked: its answers are those of the bundle in float32, which export has shown."""
        del images, files
        return None

    def _run(self, image: Images) -> Decision:
        tensor = self._tensor(image)
        return (
            self._after_all_blocks(tensor) if self._way == "published" else self._net.decide(tensor, self._thresholds)
        )

    def _tensor(self, image: Images) -> Tensor:
        normalised = (image.astype(np.float32) / 255 - self._mean) / self._std
        return torch.from_numpy(normalised).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def _after_all_blocks(self, image: Tensor) -> Decision:
        logits = self._net(image).logits
        for index, (gate, threshold) in enumerate(zip(self._net.gates, self._thresholds, strict=True)):
            linear = cast("Gate", gate).linear
            weight, bias = linear.weight.numpy()[0], linear.bias.numpy()[0]
            statistics = _statistics(logits[0, index].numpy())
            if 1 / (1 + np.exp(-(weight @ statistics + bias))) >= threshold:
                return Decision(logits[:, index], torch.tensor([index]))
        return Decision(logits[:, -1], torch.tensor([len(self._thresholds)]))


def _statistics(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The gate's four statistics, by NumPy: see `gfnet_dynn.model.gate`."""
    p = np.exp(logits - logits.max(), dtype=np.float64)
    p /= p.sum()
    q = p * p / (p * p).sum()
    first, second = np.sort(p)[:-3:-1]
    return np.array([first, _entropy(p), first - second, _entropy(q)])


def _entropy(p: npt.NDArray[np.float64]) -> float:
    return float(-(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum())
