"""A stage of training: a step, the end of an epoch, and what it must save to be resumed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim import Optimizer

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.model.early_exit import EarlyExitNet, ExitOutputs
from gfnet_dynn.train.distillation import Teacher, TeacherOutput
from gfnet_dynn.train.engine.optimisation import learning_rate_factor, set_learning_rate
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.losses import MeanOfAll
from gfnet_dynn.train.request import DistillationSettings, TrainSettings

_LARGEST_GRADIENT_NORM = 1.0
_REMEDY = "lower --lr, or train with --precision 32-true; the last checkpoint is intact"


@dataclass
class StageContext:
    """What every stage works with; `selection` computes all exits over that split with the weights of the moment.

    `ranks`: the processes that train together, each on its rows of every batch.
    """

    fabric: Fabric
    net: EarlyExitNet
    settings: TrainSettings
    steps_per_epoch: int
    selection: Callable[[], ExitArrays]
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    teacher: Teacher | None = None
    ranks: Ranks = field(default_factory=Ranks)

    def view(self, epoch: int) -> int:
        """Which augmented view of the images an epoch uses: with a teacher a few are used in turn."""
        return epoch % self.distillation.views if self.teacher and self.distillation.views else epoch


class BestWeights:
    """A copy of a module's weights at its best score, or at a later one that is as good for all that one can tell.

    `score` is the best so far, None before the first; `epochs_without` are the epochs since then.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self.epochs_without = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, score: float, module: nn.Module, slack: float | None = None) -> None:
        """Keep the module's weights, copied, if `score` (larger is better) is good enough.

        `slack` is what a later score may lack to the best and yet be taken, as it should where later weights are more
        mature; None: it must be better.
        """
        best = -math.inf if self.score is None else self.score
        better = score > best
        if better or (slack is not None and score >= best - slack):
            self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        self.epochs_without = 0 if better else self.epochs_without + 1
        self.score = max(best, score)

    def restore(self, module: nn.Module) -> None:
        """Put the weights kept back; nothing happens where none was kept."""
        if self.weights:
            module.load_state_dict(self.weights)


class Stage(ABC):
    """One stage of training.

    Attributes:
        epochs: at most so many; `finished` where it ends before.
        best: weights kept so far, by name; saved with the stage.
        extra: modules beside the network that are trained and saved with the stage, by name.
        compares_features: whether the network learns from the teacher's feature maps too, not from its logits alone.
    """

    name: str
    compares_features = False
    finished = False

    def __init__(self, context: StageContext, epochs: int) -> None:
        self.context = context
        self.epochs = epochs
        self.optimizers: dict[str, Optimizer] = {}
        self.best: dict[str, BestWeights] = {}
        self.extra: dict[str, nn.Module] = {}

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return self.epochs * self.context.steps_per_epoch

    @abstractmethod
    def step(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Take one optimiser step and return losses by name."""

    @abstractmethod
    def end_epoch(self, epoch: int) -> Mapping[str, float]:
        """Judge the network on the selection split: accuracies from 0 to 1 and other metrics by name."""

    def memory(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What must be saved beside network and optimisers so that the stage can be resumed: tensors, JSON values."""
        states = {name: best.weights for name, best in self.best.items()}
        states |= {name: module.state_dict() for name, module in self.extra.items()}
        tensors = {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.items()}
        return tensors, {name: [best.score, best.epochs_without] for name, best in self.best.items()}

    def recall(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `memory` returned."""
        for name, best in self.best.items():
            best.weights, (best.score, best.epochs_without) = below(f"{name}/", tensors), values[name]
        for name, module in self.extra.items():
            module.load_state_dict(below(f"{name}/", tensors))

    @abstractmethod
    def finish(self) -> None:
        """Give the network the weights that the stage chose."""

    def add_optimizer(self, name: str, optimizer: Optimizer) -> None:
        """Set up an optimiser with the fabric and store it under a name."""
        prepared = self.context.fabric.setup_optimizers(optimizer)
        assert isinstance(prepared, Optimizer)  # one in, one out
        self.optimizers[name] = prepared

    def teacher_output(self, batch: Batch, step: int) -> TeacherOutput | None:
        """The teacher's output for the batch of a step, or None where the network does not learn from one."""
        context = self.context
        settings = context.distillation
        if context.teacher is None or (settings.distillation == "none" and not settings.frequency_weight):
            return None
        epoch, within = divmod(step, context.steps_per_epoch)
        view = (self.name, context.view(epoch), within) if settings.views else None
        with context.fabric.autocast():
            return context.teacher.cached(batch.images, view, with_features=self.compares_features)

    def forward(self, images: Tensor) -> ExitOutputs:
        """The network under the run's precision."""
        with self.context.fabric.autocast():
            outputs: ExitOutputs = self.context.net(images)
        return outputs

    def mean_of_all(self, batch: Batch) -> MeanOfAll:
        """From means over the images of a batch that are here to those over the whole batch."""
        return partial(self.context.ranks.mean, share=batch.rows.share)

    def descend(self, name: str, loss: Tensor, step: int, share: float = 1.0) -> None:
        """One step of an optimiser down a loss, a mean over that share of the batch; all processes take it together.

        A TrainingError, in all of them, where loss or gradient are not finite.
        """
        fabric, optimizer = self.context.fabric, self.optimizers[name]
        set_learning_rate(optimizer, learning_rate_factor(step, self.steps))
        optimizer.zero_grad()
        loss = loss * share
        fabric.backward(loss)
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        loss = self.context.ranks.add_gradients(parameters, loss)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of the {self.name} stage is {loss.item()} {self._where(step)}: {_REMEDY}")
        norm = fabric.clip_gradients(
            self.context.net, optimizer, max_norm=_LARGEST_GRADIENT_NORM, error_if_nonfinite=False
        )
        # In 16-mixed an overflow is normal: the gradient scaler skips the step and lowers its scale.
        scaled = isinstance(fabric.strategy.precision, MixedPrecision) and fabric.strategy.precision.scaler is not None
        if norm is not None and not torch.isfinite(norm) and not scaled:
            raise TrainingError(f"a gradient of the {self.name} stage is not finite {self._where(step)}: {_REMEDY}")
        optimizer.step()

    def _where(self, step: int) -> str:
        epoch, within = divmod(step, self.context.steps_per_epoch)
        return f"in epoch {epoch + 1} at batch {within + 1}"


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def train_only(net: nn.Module, modules: Iterable[nn.Module]) -> None:
    """Let gradients into `modules` and nowhere else in `net`."""
    net.requires_grad_(False)
    for module in modules:
        module.requires_grad_(True)


def exit_accuracies(arrays: ExitArrays) -> dict[str, float]:
    """Top-1 of every exit over all samples, named `exit1` … and `final`."""
    accuracies = arrays.correct.mean(axis=0)
    names = [f"exit{index + 1}" for index in range(len(accuracies) - 1)] + ["final"]
    return {f"accuracy/{name}": float(value) for name, value in zip(names, accuracies, strict=True)}


def standard_error(values: npt.NDArray[np.generic]) -> float:
    """Of the mean of something seen once on each image, [N]."""
    return float(values.std() / math.sqrt(len(values)))
