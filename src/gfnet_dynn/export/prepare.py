"""A trained network made ready for export: filters and patches as matrix products, batch norms in convolutions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.export.filter import ProductFilter
from gfnet_dynn.model.early_exit import EarlyExitNet, Gate
from gfnet_dynn.model.efficientnet_lite import ConvNorm
from gfnet_dynn.model.gfnet import ConvolutionalStem, GlobalFilter, PatchEmbedding
from gfnet_dynn.spec.network import InputSpec

_MIDDLE = 128.0


class FoldedConvolution(nn.Module):
    """A `ConvNorm` in evaluation as one convolution with bias."""

    def __init__(self, source: ConvNorm) -> None:
        super().__init__()
        self.conv = nn.utils.fusion.fuse_conv_bn_eval(source.conv, source.norm)
        self.pad = source.padding
        self.activation = source.activation

    def forward(self, features: Tensor) -> Tensor:
        """As `ConvNorm`."""
        features = self.conv(self.pad(features))
        return functional.relu6(features) if self.activation else features


class PatchProduct(nn.Module):
    """A `PatchEmbedding` with the normalisation of the image as one matrix product: uint8 [B, S, S, 3] → [B, T, D].

    The convolution's stride is its kernel, so patches do not overlap. Normalisation is linear and goes into weight and
    bias; what remains is pixels less 128, which eight bits with a sign hold exactly.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, source: PatchEmbedding, image: InputSpec) -> None:
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


class FoldedGate(nn.Module):
    """A `Gate` in half as many operations, each of which costs as much as its calculation.

    Both entropies come from one softmax, of the logits and of their double; the margin is a difference of two
    probabilities, so that its weight goes to these.
    """

    factors: Tensor

    def __init__(self, source: Gate) -> None:
        super().__init__()
        largest, entropy, margin, sharper = source.linear.weight.detach()[0]
        self.linear = nn.Linear(4, 1)
        self.linear.weight.data = torch.stack((largest + margin, -margin, -entropy, -sharper))[None]
        self.linear.bias.data = source.linear.bias.detach().clone()
        self.register_buffer("factors", torch.tensor([[1.0], [2.0]]))

    def forward(self, logits: Tensor) -> Tensor:
        """As `Gate`: [B, K] → [B]."""
        log_p = (logits[:, None] * self.factors).log_softmax(dim=2)
        p = log_p.exp()
        leading = p[:, 0].topk(2, dim=1).values
        logit: Tensor = self.linear(torch.cat((leading, (p * log_p).sum(dim=2)), dim=1)).squeeze(1)
        return logit


def prepare(net: EarlyExitNet) -> EarlyExitNet:
    """A copy on the CPU in evaluation mode with the same outputs, whose parts all have an efficient form in ONNX."""
    prepared = copy.deepcopy(net).cpu().float().eval()
    with torch.no_grad():
        _replace(prepared)
    return prepared.requires_grad_(False)


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, GlobalFilter):
            setattr(module, name, ProductFilter(child))
        elif isinstance(child, ConvNorm):
            setattr(module, name, FoldedConvolution(child))
        elif isinstance(child, Gate):
            setattr(module, name, FoldedGate(child))
        else:
            _replace(child)
    if isinstance(module, ConvolutionalStem):
        module.convolutions = nn.Sequential(*(_fold_layer(layer) for layer in module.convolutions))


def _fold_layer(layer: nn.Module) -> nn.Module:
    convolution, norm, activation = layer.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return nn.Sequential(nn.utils.fusion.fuse_conv_bn_eval(convolution, norm), activation)
