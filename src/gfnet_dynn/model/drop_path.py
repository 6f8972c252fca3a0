"""Stochastic depth (Huang et al., arXiv 1603.09382)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: in training, skips the residual branch for a share of the samples."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """[B, …] → [B, …], whole samples zeroed and the others scaled up so that the mean stays."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        mask = torch.rand(len(branch), *[1] * (branch.dim() - 1), device=branch.device) < keep
        return branch * (mask / keep).to(branch.dtype)
