"""The teacher: a trained network that is applied to the very views that its student sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.spec.network import InputSpec


@dataclass(frozen=True)
class TeacherOutput:
    """What a teacher computes for a batch: logits [B, K] and, where it is needed, its last feature map [B, C, H, W]."""

    logits: Tensor
    features: Tensor | None


class WholeNet(nn.Module):
    """An early-exit network as a teacher: only its final classifier."""

    def __init__(self, net: EarlyExitNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images [B, 3, S, S] → logits [B, K] of the final classifier, and its feature map [B, C, H, W]."""
        last = self.net.backbone.num_blocks - 1
        features = self.net.last_features(images)
        return self.net.head(self.net.backbone.pool(last, features)), self.net.backbone.map(last, features)


class Teacher(nn.Module):
    """A trained network that answers for the views of its student.

    `source`: what it is and where it comes from, as JSON values. `weights`: its file, beside which lies what it learned
    from; None: that is not known.
    """

    def __init__(
        self,
        net: nn.Module,
        takes: InputSpec,
        student: InputSpec,
        source: dict[str, object],
        weights: Path | None = None,
    ) -> None:
        """Wrap a network that maps images, normalised for `takes`, to logits and a feature map, as `WholeNet` does.

        Batches are those of the `student`, of its size and normalisation; padding is omitted.
        """
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.source, self.weights = source, weights
        self._takes, self._student = takes, student
        self._kept: dict[tuple[str, int, int], Tensor] = {}

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> TeacherOutput:
        """Outputs for a batch that is normalised for the student, [B, 3, S, S]."""
        given, takes = self._student, self._takes
        mean, std, own_mean, own_std = (
            images.new_tensor(each).view(1, 3, 1, 1) for each in (given.mean, given.std, takes.mean, takes.std)
        )
        views = images * (std / own_std) + (mean - own_mean) / own_std
        if views.shape[-1] != takes.size:
            views = functional.interpolate(
                views, takes.size, mode="bilinear", align_corners=False, antialias=views.shape[-1] > takes.size
            )
        logits, features = self.net(views)
        return TeacherOutput(logits.float(), features.float())

    def feature_channels(self) -> int:
        """Channels of its feature map, found by showing it one empty image."""
        size, device = self._student.size, next(self.parameters()).device
        return int(self.net(torch.zeros(1, 3, size, size, device=device))[1].shape[1])

    def cached(
        self, images: Tensor, view: tuple[str, int, int] | None, *, with_features: bool = False
    ) -> TeacherOutput:
        """The output for a batch; logits are computed once for each view.

        Args:
            images: normalised for the student.
            view: stage, view and step, which together decide the batch; None: one that does not come again.
            with_features: whether the feature map is needed; it is never cached, as maps would fill the memory.
        """
        if view in self._kept and not with_features:
            return TeacherOutput(self._kept[view], None)
        output: TeacherOutput = self(images)
        if view is not None and not with_features:
            self._kept[view] = output.logits
        return output
