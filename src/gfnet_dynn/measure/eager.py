"""Torch as contender of a device benchmark: what a deployed network is faster than."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import per_exit
from gfnet_dynn.image import load_input
from gfnet_dynn.measure.latency import forced_exit
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.gate import Gate
from gfnet_dynn.runtime.staged import Images
from gfnet_dynn.spec import NetSpec

_NAMES = {
    "exits": "eager, real exits",
    "published": "eager, as published",
}


class EagerContender:
    """A trained network in torch, as the research code runs it (`published`) or with real exits (`exits`).

    As published, no block is ever skipped: exits are chosen, by gates in NumPy, after all has been computed.
    """

    def __init__(
        self, net: EarlyExitNet, spec: NetSpec, thresholds: tuple[float, ...], way: Literal["exits", "published"]
    ) -> None:
        self._net, self._spec, self._way = net.eval(), spec, way
        self._thresholds = per_exit(thresholds, len(net.gates))
        self.name, self.engine, self.precision = _NAMES[way], f"torch {torch.__version__}", "fp32"
        self.size_bytes: int | None = None
        self.exit_names = (*(f"exit {index + 1}" for index in range(len(net.gates))), "final")
        self.cost_shares, self.macs = net.exit_costs(), net.exit_macs()[-1]
        mean, std = (np.array(values, np.float32) for values in (spec.input.mean, spec.input.std))
        self._mean, self._std = mean, std
        if way == "published":
            self.exit_names, self.cost_shares = ("final",), (1.0,)

    def leave_at(self, exit_index: int) -> Callable[[Images], object]:
        """All blocks up to one exit; as published, all blocks."""
        if self._way == "published":
            return self.decide
        thresholds = forced_exit(exit_index, len(self._net.gates))
        return lambda image: self._net.decide(self._tensor(image), thresholds)

    def decide(self, image: Images) -> int:
        """By its thresholds."""
        if self._way == "published":
            return self._after_all_blocks(self._tensor(image))
        return int(self._net.decide(self._tensor(image), self._thresholds).exits[0])

    def read(self, file: Path) -> Images:
        """Decode and fit."""
        return load_input(file, self._spec.input)[None]

    def answer(self, file: Path) -> object:
        """From file to label."""
        return self._spec.classes[self.decide(self.read(file))]

    def arrays(self, images: Images, labels: npt.NDArray[np.int64]) -> ExitArrays | None:
        """Not asked: the same answers as those of the bundle."""
        del images, labels
        return None

    def _tensor(self, image: Images) -> Tensor:
        normalised = (image.astype(np.float32) / 255 - self._mean) / self._std
        return torch.from_numpy(normalised).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def _after_all_blocks(self, image: Tensor) -> int:
        logits = self._net(image).logits[0].numpy()
        for index, (gate, threshold) in enumerate(zip(self._net.gates, self._thresholds, strict=True)):
            linear = cast("Gate", gate).linear
            weight, bias = linear.weight.numpy()[0], linear.bias.numpy()[0]
            if 1 / (1 + np.exp(-(weight @ _statistics(logits[index]) + bias))) >= threshold:
                return index
        return len(self._thresholds)


def _statistics(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The gate's four statistics, by NumPy: see `gfnet_dynn.model.gate`."""
    p = np.exp(logits - logits.max(), dtype=np.float64)
    p /= p.sum()
    q = p * p / (p * p).sum()
    first, second = np.sort(p)[:-3:-1]
    return np.array([first, _entropy(p), first - second, _entropy(q)])


def _entropy(p: npt.NDArray[np.float64]) -> float:
    return float(-(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum())
