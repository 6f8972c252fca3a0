"""Optimisers and their learning rate, a pure function of the step, so that nothing of it need be saved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from gfnet_dynn.train.request import TrainSettings

_WARMUP_SHARE = 0.05
_DEFAULT_DECAY = {"adamw": 0.05, "sgd": 5e-4}  # decoupled from the rate, and not


def make_optimizer(modules: Iterable[nn.Module], settings: TrainSettings, trunk: Iterable[nn.Module] = ()) -> Optimizer:
    """An optimiser over the trainable parameters of some modules.

    Matrices and filters decay; position, biases and norms don't. The rate of modules in `trunk` is `trunk_lr`.
    """
    named = [(name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad]
    slower = {p for module in trunk for p in module.parameters()} if settings.trunk_lr else set()
    decay = _DEFAULT_DECAY[settings.optimizer] if settings.weight_decay is None else settings.weight_decay
    chosen: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, p in named:
        chosen.setdefault((p in slower, p.dim() <= 1 or name.endswith("pos_embed")), []).append(p)
    groups = [
        {"params": each, "weight_decay": 0.0 if plain else decay, "lr": settings.trunk_lr if slow else settings.lr}
        for (slow, plain), each in sorted(chosen.items(), key=lambda item: item[0])
    ]
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.lr, momentum=0.9)
    return AdamW(groups, lr=settings.lr)


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the peak rate at a step: linear rise over the first twentieth, then a cosine to zero."""
    rise = max(1, round(steps * _WARMUP_SHARE))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Set each group to `factor` of the rate that it was made with."""
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor


def optimizer_tensors(optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as tensors, named by parameter position and key."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, values in state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; rates are set anew at each step."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
