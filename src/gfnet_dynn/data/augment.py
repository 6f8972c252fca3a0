"""What happens to a batch of images on its way to the network: normalisation, and augmentation for overhead images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfnet_dynn.data.request import Augmentation
from gfnet_dynn.errors import MissingExtraError
from gfnet_dynn.spec.network import InputSpec

_CROP_AREA = (0.6, 1.0)  # share of the image's area; scenes are labelled as a whole, so smaller crops lose the subject
_CROP_RATIO = (0.85, 1.18)  # overhead images have no preferred axis: nearly square


class Normalise(nn.Module):
    """uint8 [B, 3, S, S] → float32, each channel less its mean and divided by its standard deviation."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.mean, self.std = spec.mean, spec.std

    def forward(self, images: Tensor) -> Tensor:
        """See the class; the device stays."""
        return self.normalise(images.float() / 255)

    def normalise(self, images: Tensor) -> Tensor:
        """Float images on the scale 0 to 1 → normalised."""
        mean, std = (images.new_tensor(each).view(1, 3, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std


class TrainingTransform(Normalise):
    """Augments and normalises. Random draws come from torch's global generator, which the caller seeds."""

    def __init__(self, spec: InputSpec, augmentation: Augmentation) -> None:
        super().__init__(spec)
        self.augmentation = augmentation
        self.steps = nn.ModuleList(_kornia_steps(spec.size, augmentation))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] → float32 [B, 3, S, S]."""
        scaled = images.float() / 255
        if self.augmentation != "none":
            scaled = random_symmetry(scaled)
        for step in self.steps:
            scaled = step(scaled)
        return self.normalise(scaled.clamp(0, 1))


def random_symmetry(images: Tensor) -> Tensor:
    """Apply to each image one of the eight symmetries of the square, drawn uniformly.

    From above there is no up, so all eight are as likely as the image itself. Pixels move without interpolation.
    """
    choice = torch.randint(8, (len(images),), device=images.device).view(-1, 1, 1, 1)
    images = torch.where(choice & 1 > 0, images.flip(2), images)
    images = torch.where(choice & 2 > 0, images.flip(3), images)
    return torch.where(choice & 4 > 0, images.transpose(2, 3), images)


def _kornia_steps(size: int, augmentation: Augmentation) -> list[nn.Module]:
    if augmentation == "none":
        return []
    try:
        from kornia import augmentation as kornia_augmentation  # noqa: PLC0415 # slow to import; training only
        from kornia.augmentation.auto import RandAugment  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("augmentation", "train") from error
    steps = [
        kornia_augmentation.RandomResizedCrop((size, size), scale=_CROP_AREA, ratio=_CROP_RATIO),
        kornia_augmentation.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, p=0.8),
    ]
    return [*steps, RandAugment(n=2, m=9)] if augmentation == "randaugment" else steps
