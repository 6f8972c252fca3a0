"""Small networks of each kind, and their exported segments; made once, as torch's exporter takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.export.bundle import Draft
from gfnet_dynn.export.segments import export_segments
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.segments import Images, SegmentedNet
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec, GFNetSpec, HybridSpec
from gfnet_dynn.spec.network import NetSpec, make_input
from tests.quick_work import quick_exports

CLASSES = ("airport", "beach", "church", "desert")

KINDS: dict[str, tuple[BackboneSpec, int, tuple[int, ...]]] = {
    "gfnet": (GFNetSpec(width=16, depth=3, patch_size=4), 20, (0, 1)),
    "convolutional stem": (GFNetSpec(width=16, depth=2, patch_size=8, stem="convolutions"), 24, (0,)),
    "lite": (EfficientNetLiteSpec(0), 32, (2,)),
    "hybrid": (HybridSpec(cut=1, width=16, depth_after=2), 24, (1, 2)),
    "static": (GFNetSpec(width=16, depth=1, patch_size=8), 16, ()),
}

PROVENANCE = {
    "threshold": {"thresholds": [0.5, 0.5], "rule": "a rule", "chosen_on": "selection split"},
    "max_softmax_threshold": {"thresholds": [0.6, 0.6], "rule": "a rule", "chosen_on": "selection split"},
}


@dataclass(frozen=True, eq=False)  # recognised by identity, so that results can be cached
class Subject:
    """A network, its segments, and images."""

    net: EarlyExitNet
    spec: NetSpec
    segments: list[onnx.ModelProto]
    images: Images

    @property
    def manifest(self) -> Manifest:
        gates = len(self.net.gates)
        provenance = {key: {**value, "thresholds": value["thresholds"][:gates]} for key, value in PROVENANCE.items()}
        return Draft(self.spec, self.net.exit_macs(), trained_policies(provenance, gates), {}).manifest(
            {"fp32": self.graphs}, {}
        )

    @property
    def graphs(self) -> list[bytes]:
        return [segment.SerializeToString() for segment in self.segments]

    def compiled(self, engine: str = "onnxruntime") -> SegmentedNet:
        return SegmentedNet(self.manifest, self.graphs, "fp32", make_engine(engine, EngineOptions(threads=1)))


@torch.no_grad()
def spread(net: EarlyExitNet, size: int) -> EarlyExitNet:
    """A fresh network answers all but alike whatever it sees; this one has statistics, and heads that say something."""
    for name, parameter in net.named_parameters():
        if parameter.dim() > 1:
            parameter.mul_(10 if "head" in name else 4 if "filter" in name else 1.5)
    for head in net.heads:
        head.bias.normal_(std=0.1)  # export drops what is zero
    for gate in net.gates:
        gate.linear.weight.fill_(1.0)  # type: ignore[union-attr,operator] # a Gate
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that follows
    net.train()
    for _ in range(3):
        net(torch.randn(8, 3, size, size))
    return net.eval()


@cache
def make_subject(kind: str) -> Subject:
    backbone, size, exits = KINDS[kind]
    torch.manual_seed(0)
    spec = NetSpec(backbone, exits, make_input(backbone, size, pad=False), CLASSES, backbone.exit_pooling)
    net = spread(build_net(spec), size)
    images: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (9, size, size, 3), dtype=np.uint8)
    with quick_exports():
        return Subject(net, spec, export_segments(net, spec), images)


@pytest.fixture
def subject() -> Callable[[str], Subject]:
    """A function that makes the small network of a kind, or gives it again."""
    return make_subject
