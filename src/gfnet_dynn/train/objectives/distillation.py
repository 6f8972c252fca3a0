"""What a student learns from a teacher: hard, soft, and in the frequency domain.

Shapes: B samples, K classes. Sources: DeiT (Touvron et al., arXiv 2012.12877) for hard distillation by a second
classifier, Hinton et al. (arXiv 1503.02531) for soft. The frequency-domain loss is our own design: the paper on
GFNet-Dynn (arXiv 2507.20623) names one without defining it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.data.splits.split import UNLABELLED
from gfnet_dynn.train.objectives.losses import exit_losses, soft_losses
from gfnet_dynn.train.objectives.teacher import TeacherOutput
from gfnet_dynn.train.request import DistillationSettings

_LOW_FREQUENCIES = 3  # along each axis, the mean (frequency 0) included
_TINY = 1e-5


def exit_teacher_losses(logits: Tensor, teacher: Tensor, settings: DistillationSettings) -> Tensor:
    """What each exit lacks of the teacher, hard or soft as the settings choose: [B, G + 1].

    Args:
        logits: [B, G + 1, K].
        teacher: [B, K].
        settings: kind and temperature; not `none`.
    """
    if settings.distillation == "hard":
        return exit_losses(logits, teacher.argmax(dim=-1))
    return soft_losses(logits, teacher[:, None], settings.temperature)


def frequency_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How two feature maps differ in their spectra over the positions.

    Both are brought to the smaller grid and each channel of the teacher's to mean 0 and deviation 1 over batch and
    positions. Compared are the log-amplitudes at all frequencies, and the complex values at the low ones, where phase
    still means place and not texture; mean squares of both, added. The student's map [B, C, H, W] is projected to the
    channels of the teacher's [B, C, H', W'].
    """
    side = min(student.shape[-1], teacher.shape[-1])
    own = functional.adaptive_avg_pool2d(student.float(), side)
    target = functional.adaptive_avg_pool2d(teacher.detach().float(), side)
    mean, deviation = target.mean(dim=(0, 2, 3), keepdim=True), target.std(dim=(0, 2, 3), keepdim=True, correction=0)
    target = (target - mean) / (deviation + _TINY)
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
        self, settings: DistillationSettings, width: int, num_classes: int, teacher_channels: int | None
    ) -> None:
        super().__init__()
        self._settings = settings
        self.head = nn.Linear(width, num_classes) if settings.distillation == "hard" else None
        self.projection = None if teacher_channels is None else nn.Conv2d(width, teacher_channels, kernel_size=1)

    def forward(
        self, logits: Tensor, pooled: Tensor, features: Tensor, labels_loss: Tensor, output: TeacherOutput
    ) -> tuple[Tensor, Tensor]:
        """The whole loss, and the teacher's part of it alone.

        Args:
            logits: [B, K] of the student's classifier.
            pooled: [B, width], what that sees.
            features: the student's last map [B, channels, H, W].
            labels_loss: cross-entropy with the labels.
            output: of the teacher for the same views.
        """
        settings, taught, total = self._settings, logits.new_zeros(()), labels_loss
        if settings.distillation != "none":
            student = self.head(pooled) if self.head is not None else logits
            taught = exit_teacher_losses(student[:, None], output.logits, settings).mean()
            total = (1 - settings.distillation_weight) * labels_loss + settings.distillation_weight * taught
        if self.projection is not None and output.features is not None:
            frequency = frequency_loss(self.projection(features), output.features)
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


def labelled_mean(losses: Tensor, labels: Tensor) -> Tensor:
    """Mean of the losses of the samples that have a label; 0 where none has."""
    return losses.sum() / (labels != UNLABELLED).sum().clamp(min=1)
