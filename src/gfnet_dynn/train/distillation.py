"""The teacher, applied to the very views that its student sees, and what the student learns from it.

Shapes: B samples, K classes. Sources: DeiT (Touvron et al., arXiv 2012.12877) for hard distillation by a second
classifier, Hinton et al. (arXiv 1503.02531) for soft. The frequency-domain loss is our own design: the paper on
GFNet-Dynn (arXiv 2507.20623) names one without defining it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.data.split import UNLABELLED
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.train.losses import MeanOfAll, alone, exit_losses, soft_losses
from gfnet_dynn.train.request import DistillationSettings


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
        return self.net.head(self.net.pool_exit(last, features)), self.net.backbone.map(last, features)


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
        """The output for a batch that is normalised for the student; logits are computed once for each view.

        A view is stage, view and step, which together decide the batch; None: one that does not come again. A feature
        map is never cached, as maps would fill the memory.
        """
        if view in self._kept and not with_features:
            return TeacherOutput(self._kept[view], None)
        output: TeacherOutput = self(images)
        if view is not None and not with_features:
            self._kept[view] = output.logits
        return output


_LOW_FREQUENCIES = 3  # along each axis, the mean (frequency 0) included
_TINY = 1e-5


def exit_teacher_losses(logits: Tensor, teacher: Tensor, settings: DistillationSettings) -> Tensor:
    """What each exit lacks of the teacher, hard or soft (not `none`) as the settings choose: [B, G + 1].

    Of `logits` [B, G + 1, K] and those of the teacher [B, K].
    """
    if settings.distillation == "hard":
        return exit_losses(logits, teacher.argmax(dim=-1))
    return soft_losses(logits, teacher[:, None], settings.temperature)


def frequency_loss(student: Tensor, teacher: Tensor, mean_of_all: MeanOfAll = alone) -> Tensor:
    """How two feature maps differ in their spectra over the positions.

    Both are brought to the smaller grid and each channel of the teacher's to mean 0 and deviation 1 over the whole
    batch and positions. Compared are the log-amplitudes at all frequencies, and the complex values at the low ones,
    where phase still means place and not texture; mean squares of both, added. The student's map [B, C, H, W] is
    projected to the channels of the teacher's [B, C, H', W'].
    """
    side = min(student.shape[-1], teacher.shape[-1])
    own = functional.adaptive_avg_pool2d(student.float(), side)
    target = functional.adaptive_avg_pool2d(teacher.detach().float(), side)
    target = target - mean_of_all(target.mean(dim=(0, 2, 3), keepdim=True))
    deviation = mean_of_all(target.square().mean(dim=(0, 2, 3), keepdim=True)).sqrt()
    target = target / (deviation + _TINY)
    with torch.autocast(own.device.type, enabled=False):
        spectrum, wanted = (torch.fft.rfft2(each, norm="ortho") for each in (own, target))
        amplitudes = functional.mse_loss(_log_amplitude(spectrum), _log_amplitude(wanted))
        low = functional.mse_loss(torch.view_as_real(_low(spectrum)), torch.view_as_real(_low(wanted)))
    return amplitudes + low


def _log_amplitude(spectrum: Tensor) -> Tensor:
    power = spectrum.real.square() + spectrum.imag.square()  # abs() has no gradient at 0
    return (power + _TINY).sqrt().log1p()


def _low(spectrum: Tensor) -> Tensor:
    """The low frequencies of both signs down, and those across: [B, C, up to 2n - 1, up to n]."""
    side, count = spectrum.shape[2], min(_LOW_FREQUENCIES, spectrum.shape[2])
    rows = [*range(count), *range(max(count, side - count + 1), side)]
    return spectrum[:, :, rows, :count]


class Distiller(nn.Module):
    """The teacher's part in the loss of a student's final classifier, with what is thrown away or merged afterwards.

    `head` is the second classifier of hard distillation, `projection` maps the student's channels to the teacher's for
    the frequency domain; None where not needed.
    """

    def __init__(
        self, settings: DistillationSettings, head: nn.Linear, channels: int, teacher_channels: int | None
    ) -> None:
        """For the student's final classifier `head` and last map of `channels`; None: the teacher's is not compared."""
        super().__init__()
        self._settings = settings
        self.head = nn.Linear(head.in_features, head.out_features) if settings.distillation == "hard" else None
        self.projection = None if teacher_channels is None else nn.Conv2d(channels, teacher_channels, kernel_size=1)

    def forward(
        self,
        logits: Tensor,
        pooled: Tensor,
        features: Tensor,
        labels_loss: Tensor,
        output: TeacherOutput,
        mean_of_all: MeanOfAll = alone,
    ) -> tuple[Tensor, Tensor]:
        """The whole loss, and the teacher's part of it alone.

        `logits` [B, K] are of the student's classifier, `pooled` [B, width] what that sees, `features` [B, channels, H,
        W] the student's last map; the teacher's `output` is for the same views.
        """
        settings, taught, total = self._settings, logits.new_zeros(()), labels_loss
        if settings.distillation != "none":
            student = self.head(pooled) if self.head is not None else logits
            taught = exit_teacher_losses(student[:, None], output.logits, settings).mean()
            total = (1 - settings.distillation_weight) * labels_loss + settings.distillation_weight * taught
        if self.projection is not None and output.features is not None:
            frequency = frequency_loss(self.projection(features), output.features, mean_of_all)
            taught = taught + settings.frequency_weight * frequency
            total = total + settings.frequency_weight * frequency
        return total, taught

    @contextmanager
    def merged(self, head: nn.Linear) -> Iterator[None]:
        """While inside, `head` is what it will be: both classifiers in one."""
        before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        self.merge(head)
        try:
            yield
        finally:
            head.load_state_dict(before)

    @torch.no_grad()
    def merge(self, head: nn.Linear) -> None:
        """Make one classifier of two: logits are averaged, and the mean of two linear maps is a linear map."""
        if self.head is not None:
            head.weight.add_(self.head.weight).div_(2)
            head.bias.add_(self.head.bias).div_(2)


def labelled_mean(losses: Tensor, labels: Tensor, mean_of_all: MeanOfAll = alone) -> Tensor:
    """Mean of the losses of the samples that have a label, 0 for the others; 0 where none has.

    Where processes share a batch, the mean of this over their samples is that of the whole batch.
    """
    share = mean_of_all((labels != UNLABELLED).float().mean())
    return losses.mean() / share.clamp(min=_TINY)
