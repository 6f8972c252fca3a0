"""A patch embedding as one matrix product on the pixels as they come, for engines and eight bits alike.

The convolution's stride is its kernel, so patches do not overlap. Normalisation is linear and goes into weight and
bias; what remains is pixels less 128, which eight bits with a sign hold exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gfnet_dynn.model.gfnet import PatchEmbedding
from gfnet_dynn.spec.network import InputSpec

_MIDDLE = 128.0


class PatchProduct(nn.Module):
    """A `PatchEmbedding` with the normalisation of the image: uint8 [B, S, S, 3] → [B, T, D]."""

    weight: Tensor
    bias: Tensor

    def __init__(self, source: PatchEmbedding, image: InputSpec) -> None:
        """Fold the normalisation in.

        Args:
            source: trained.
            image: how its images are normalised.
        """
        super().__init__()
        kernel = source.proj.weight.detach().double()  # [D, 3, P, P]
        mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (image.mean, image.std))
        assert source.proj.bias is not None
        bias = source.proj.bias.detach().double() + (kernel * (_MIDDLE / 255 - mean) / std).sum(dim=(1, 2, 3))
        scaled = (kernel / (255 * std)).permute(2, 3, 1, 0)  # pixels of a patch row by row, then channels
        self.patch = kernel.shape[2]
        self.register_buffer("weight", scaled.reshape(-1, kernel.shape[0]).float().contiguous())
        self.register_buffer("bias", bias.float())

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] → [B, T, D]."""
        grid, patch = images.shape[1] // self.patch, self.patch
        patches = images.reshape(-1, grid, patch, grid, patch, 3).permute(0, 1, 3, 2, 4, 5)
        pixels = patches.reshape(-1, grid * grid, patch * patch * 3).float() - _MIDDLE
        return torch.matmul(pixels, self.weight) + self.bias
