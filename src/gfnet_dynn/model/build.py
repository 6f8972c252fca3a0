"""From a description to a network; the only place that knows which backbones there are."""

from __future__ import annotations

from gfnet_dynn.model.backbone import Backbone
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.efficientnet_lite import EfficientNetLite
from gfnet_dynn.model.gfnet import GFNet
from gfnet_dynn.model.hybrid import Hybrid
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec, GFNetSpec
from gfnet_dynn.spec.network import NetSpec


def build_backbone(spec: BackboneSpec, image_size: int, drop_path: float = 0.0) -> Backbone:
    """The backbone that a spec describes, with fresh weights from torch's random generator.

    Raises:
        SpecError: the input does not fit.
    """
    if isinstance(spec, GFNetSpec):
        return GFNet(spec, image_size, drop_path)
    if isinstance(spec, EfficientNetLiteSpec):
        return EfficientNetLite(spec, image_size, drop_path)
    return Hybrid(spec, image_size, drop_path)


def build_net(spec: NetSpec, drop_path: float = 0.0) -> EarlyExitNet:
    """The early-exit network that a spec describes, with fresh weights."""
    backbone = build_backbone(spec.backbone, spec.input.size, drop_path)
    return EarlyExitNet(backbone, spec.exit_blocks, len(spec.classes), spec.exit_pooling)
