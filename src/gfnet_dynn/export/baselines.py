"""Static networks by name as bundles, for timing: their classifier has random weights."""

from __future__ import annotations

from collections.abc import Sequence
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
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.pretrained import load_imagenet
from gfnet_dynn.spec.backbone import EfficientNetLiteSpec, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input

_IMAGES_IN_RANGES = 32


def write_baseline(
    name: str, classes: tuple[str, ...], files: Sequence[Path], folder: Path, decode: DecodeOptions = DEFAULT
) -> Path:
    """Write `NAME.gfd` of an EfficientNet-Lite with ImageNet weights, at their size, in fp32 and int8.

    Of the classes only their number matters; the images give the ranges of int8.

    Raises:
        SpecError: no EfficientNet-Lite.
        MissingExtraError: its weights are not installed.
    """
    backbone = find_backbone(name)
    if not isinstance(backbone, EfficientNetLiteSpec):
        raise SpecError(f"no published weights of {name} to compare with: give a bundle, or an EfficientNet-Lite")
    spec = NetSpec(backbone, (), make_input(backbone, backbone.resolution, pad=False), classes)
    torch.manual_seed(0)
    net = build_net(spec).eval()
    load_imagenet(net.backbone, backbone)
    segments = export_segments(net, spec)
    images = np.stack([load_input(file, spec.input, decode) for file in files[:_IMAGES_IN_RANGES]])
    both = {"fp32": segments, "int8": quantise_segments(segments, images)}
    graphs = {precision: [segment.SerializeToString() for segment in each] for precision, each in both.items()}
    draft = Draft(spec, net.exit_macs(), trained_policies({}, 0), {"untrained": "the classifier has random weights"})
    return write_bundle(folder / f"{name}.gfd", draft.manifest(graphs, {}, tuple(graphs)), draft.files(graphs))
