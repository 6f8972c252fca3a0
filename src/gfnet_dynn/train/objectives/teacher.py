"""The teacher: a trained network that is applied to the very views that its student sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.errors import TrainingError
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.spec.network import InputSpec


@dataclass(frozen=True)
class TeacherOutput:
    """What a teacher computes for a batch.

    Attributes:
        logits: [B, K].
        features: its last feature map [B, C, H, W], or None where it offers none.
    """

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
    """Any network as a teacher.

    Attributes:
        source: what it is and where it comes from, as JSON values.
        weights: the file of its weights, beside which lies what it learned from; None: that is not known.
    """

    def __init__(
        self,
        net: nn.Module,
        takes: InputSpec,
        student: InputSpec,
        source: dict[str, object],
        weights: Path | None = None,
    ) -> None:
        """Wrap a trained network.

        Args:
            net: called with images [B, 3, S, S], normalised for `takes`; returns logits [B, K], or logits and a
                feature map [B, C, H, W].
            takes: input of `net`; padding is omitted.
            student: the input of the student, whose batches are given.
            source: what it is and where it comes from, as JSON values.
            weights: the file of its weights, or None.
        """
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.source = source
        self.weights = weights
        self._takes, self._student = takes, student

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> TeacherOutput:
        """Outputs for a batch that is normalised for the student, [B, 3, S, S].

        Raises:
            TrainingError: the network returns something else than it should.
        """
        given, takes = self._student, self._takes
        scale = images.new_tensor([s / t for s, t in zip(given.std, takes.std, strict=True)]).view(1, 3, 1, 1)
        shift = images.new_tensor(
            [(sm - tm) / ts for sm, tm, ts in zip(given.mean, takes.mean, takes.std, strict=True)]
        ).view(1, 3, 1, 1)
        views = images * scale + shift
        size = takes.size
        if views.shape[-1] != size:
            views = functional.interpolate(
                views, size=(size, size), mode="bilinear", align_corners=False, antialias=views.shape[-1] > size
            )
        answer = self.net(views)
        logits, features = answer if isinstance(answer, tuple) else (answer, None)
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(images):
            raise TrainingError("a teacher must return logits [B, K], or logits and a feature map [B, C, H, W]")
        return TeacherOutput(logits.float(), None if features is None else features.float())

    def feature_channels(self) -> int:
        """Channels of its feature map, found by showing it one empty image.

        Raises:
            TrainingError: it offers none.
        """
        size = self._student.size
        device = next((parameter.device for parameter in self.parameters()), torch.device("cpu"))
        output: TeacherOutput = self(torch.zeros(1, 3, size, size, device=device))
        if output.features is None:
            raise TrainingError(
                "--frequency-weight needs a teacher that returns its feature map beside its logits: this one does not"
            )
        return output.features.shape[1]


class TeacherOutputs:
    """A teacher's outputs, cached for views that are used again."""

    def __init__(self, teacher: Teacher, *, keep: bool) -> None:
        """With an empty cache.

        Args:
            teacher: its outputs are cached.
            keep: cache the logits of each view; feature maps are never cached, as they would fill the memory.
        """
        self.teacher = teacher
        self._keep = keep
        self._kept: dict[tuple[str, int, int], Tensor] = {}

    @property
    def teacher_channels(self) -> int:
        """Channels of the teacher's feature map.

        Raises:
            TrainingError: it offers none.
        """
        return self.teacher.feature_channels()

    def of(self, images: Tensor, view: tuple[str, int, int], *, with_features: bool = False) -> TeacherOutput:
        """The output for a batch.

        Args:
            images: normalised for the student.
            view: stage, view and step, which together decide the batch.
            with_features: whether the feature map is needed, which is never cached.
        """
        if with_features:
            output: TeacherOutput = self.teacher(images)
            return output
        if view in self._kept:
            return TeacherOutput(self._kept[view], None)
        logits: Tensor = self.teacher(images).logits
        if self._keep:
            self._kept[view] = logits
        return TeacherOutput(logits, None)
