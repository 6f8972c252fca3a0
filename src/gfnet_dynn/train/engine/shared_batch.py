"""Modules whose result depends on the other images of a batch, where several processes share it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gfnet_dynn.data.rows import ALL_ROWS, Rows
from gfnet_dynn.model.backbone import DropPath
from gfnet_dynn.train.engine.ranks import add_up


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of the whole batch, as with one process.

    torch's SyncBatchNorm is for GPUs only, and counts a row that weighs nothing. In evaluation mode, it is as always.

    Attributes:
        rows: of the whole batch that this process has.
    """

    rows = ALL_ROWS

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 # as torch names it
        """[B, C, H, W] → [B, C, H, W] of the same type."""
        if not self.training:
            return super().forward(input)
        features = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = self._of_all(features)
        away = features - mean.view(1, -1, 1, 1)
        variance = self._of_all(away.square())
        self._remember(mean.detach(), variance.detach(), self.rows.total * features[0, 0].numel())
        scale = (variance + self.eps).rsqrt() * self.weight
        return (away * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(input.dtype)

    def _of_all(self, values: Tensor) -> Tensor:
        own = values.mean(dim=(0, 2, 3)) * self.rows.share
        added: Tensor = _Added.apply(own)  # type: ignore[no-untyped-call] # torch leaves it untyped
        return added

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)


class _Added(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return add_up(values.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return add_up(gradients[0].clone())


def share_statistics(module: nn.Module) -> None:
    """Let every batch norm in a module, which is changed, take the statistics of the whole batch."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                shared = SharedBatchNorm(child.num_features, child.eps, child.momentum).to(child.weight)
                shared.load_state_dict(child.state_dict())
                setattr(parent, name, shared.train(child.training))


def place_rows(module: nn.Module, rows: Rows) -> None:
    """Say to all that draws at random, or takes statistics, which rows of their batch come next."""
    for each in module.modules():
        if isinstance(each, DropPath):
            each.rows = (rows.start, rows.total)
        elif isinstance(each, SharedBatchNorm):
            each.rows = rows
