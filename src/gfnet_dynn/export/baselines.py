"""Static networks by name as bundles, for timing: their classifier has random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gfnet_dynn.bundle.archive import write_bundle
from gfnet_dynn.errors import SpecError
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.export.bundle import Draft
from gfnet_dynn.export.quantise import quantise_segments
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.model.weights import load_imagenet
from gfnet_dynn.runtime.segments import Images
from gfnet_dynn.spec.backbone import EfficientNetLiteSpec, find_backbone
from gfnet_dynn.spec.network import InputSpec, NetSpec, make_input

_IMAGES_IN_RANGES = 32


@dataclass(frozen=True)
class BaselineRequest:
    """A static network.

    Attributes:
        name: an EfficientNet-Lite.
        classes: of the classifier; only their number matters.
        images: for the ranges of int8.
        decode: how they are decoded.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[Path, ...]
    decode: DecodeOptions = DEFAULT


def write_baseline(target: BaselineRequest, folder: Path) -> Path:
    """Write `NAME.gfd` with ImageNet weights, at the size that they were trained at, in fp32 and int8.

    Raises:
        SpecError: no EfficientNet-Lite.
        MissingExtraError: its weights are not installed.
    """
    backbone = find_backbone(target.name)
    if not isinstance(backbone, EfficientNetLiteSpec):
        raise SpecError(
            f"no published weights of {target.name} to compare with: give a bundle, or an EfficientNet-Lite"
        )
    spec = NetSpec(backbone, (), make_input(backbone, backbone.resolution, pad=False), target.classes)
    torch.manual_seed(0)
    net = build_net(spec).eval()
    load_imagenet(net.backbone, backbone)
    segments = export_segments(net, spec)
    int8 = quantise_segments(segments, _read(target, spec.input))
    both = {"fp32": segments, "int8": int8}
    graphs = {name: [segment.SerializeToString() for segment in each] for name, each in both.items()}
    draft = Draft(spec, net.exit_macs(), trained_policies({}, 0), {"untrained": "the classifier has random weights"})
    return write_bundle(folder / f"{target.name}.gfd", draft.manifest(graphs, {}, tuple(graphs)), draft.files(graphs))


def _read(target: BaselineRequest, image: InputSpec) -> Images:
    return np.stack([load_input(file, image, target.decode) for file in target.images[:_IMAGES_IN_RANGES]])
