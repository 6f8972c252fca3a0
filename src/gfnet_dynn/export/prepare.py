"""A trained network made ready for export: filters as matrix products, batch norms folded into their convolutions."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnet_dynn.export.filter import ProductFilter
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.efficientnet_lite import ConvNorm
from gfnet_dynn.model.gfnet import ConvolutionalStem, GlobalFilter


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


def prepare(net: EarlyExitNet) -> EarlyExitNet:
    """A copy in evaluation mode with the same outputs, whose parts all have an efficient form in ONNX.

    Args:
        net: trained, on any device.
    """
    prepared = copy.deepcopy(net).cpu().float().eval()
    with torch.no_grad():
        _replace(prepared)
    return prepared.requires_grad_(False)


_FORMS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    GlobalFilter: ProductFilter,
    ConvNorm: FoldedConvolution,
}


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if (form := _FORMS.get(type(child))) is not None:
            setattr(module, name, form(child))
        else:
            _replace(child)
    if isinstance(module, ConvolutionalStem):
        module.convolutions = nn.Sequential(*(_fold_layer(layer) for layer in module.convolutions))


def _fold_layer(layer: nn.Module) -> nn.Module:
    convolution, norm, activation = layer.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return nn.Sequential(nn.utils.fusion.fuse_conv_bn_eval(convolution, norm), activation)
