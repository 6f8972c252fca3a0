"""How far an image is from the training images, in the features that the first exit sees: for the answer "unknown".

The first exit sees texture and colour before a classifier has learnt to ignore what tells no classes apart, so it
notices noise and other sensors, of which later exits are often sure. Source: Lee et al., A simple unified framework for
detecting out-of-distribution samples and adversarial attacks, arXiv 1807.03888: the squared Mahalanobis distance to the
nearest class, by one covariance within all classes; it is shrunk towards a multiple of the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfnet_dynn.export.prepare import prepare
from gfnet_dynn.export.segments import FirstPiece, Segment
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.network import NetSpec

SHRINKAGE = 0.1
"""Share of the identity in the covariance, so that few images and features that hardly vary do no harm."""

_BATCH = 64
_TINY = 1e-6


class ClassDistance(nn.Module):
    """Squared distance to the nearest class centre, per feature: near 1 for images like the training images."""

    whitening: Tensor
    shift: Tensor
    centres: Tensor

    def __init__(self, mean: Tensor, whitening: Tensor, centres: Tensor) -> None:
        """Mean of the features [D], whitening [D, D] and the centres of the classes after it, [K, D]."""
        super().__init__()
        self.register_buffer("whitening", whitening.T.float().contiguous())
        self.register_buffer("shift", -(mean @ whitening).float())
        self.register_buffer("centres", centres.float())

    def forward(self, pooled: Tensor) -> Tensor:
        """Input of the first exit's head [B, D] → [B]."""
        white = nn.functional.linear(pooled, self.whitening, self.shift)
        away = white[:, None] - self.centres
        squared: Tensor = (away * away).mean(dim=2)
        return squared.amin(dim=1)


@torch.no_grad()
def class_distance(net: EarlyExitNet, spec: NetSpec, images: Images, labels: Tensor) -> ClassDistance | None:
    """Fit to training images uint8 [N, S, S, 3] with labels [N]; None for a network without early exits.

    None too where the images are too few to show how one class varies.
    """
    if not net.gates:
        return None
    prepared = prepare(net)
    first = Segment(prepared, 0, FirstPiece(prepared, spec.input)).eval()
    parts = [first.pooled(torch.from_numpy(images[row : row + _BATCH])) for row in range(0, len(images), _BATCH)]
    return fit_distance(torch.cat([pooled for _, pooled in parts]), labels)


def fit_distance(pooled: Tensor, labels: Tensor) -> ClassDistance | None:
    """The distance by features [N, D] with labels [N]; classes without images have no centre."""
    wide = pooled.double()
    mean, deviation = wide.mean(dim=0), wide.std(dim=0, correction=0)
    scale = torch.where(deviation > _TINY, 1 / deviation, 0)  # what never varies tells nothing
    standard = (wide - mean) * scale
    present, index = torch.unique(labels, return_inverse=True)
    centres = torch.stack([standard[index == each].mean(dim=0) for each in range(len(present))])
    within = standard - centres[index]
    covariance = within.T @ within / max(1, len(wide) - len(present))
    level = covariance.trace() / len(covariance)
    if not level > _TINY:
        return None
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * torch.eye(len(covariance), dtype=torch.float64)
    whitening = torch.linalg.cholesky(torch.linalg.inv(shrunk))
    return ClassDistance(mean, scale[:, None] * whitening, centres @ whitening)
