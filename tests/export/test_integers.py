from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from gfnet_dynn.export.integers import Quantisation, feature_quantisation, pixel_quantisation
from gfnet_dynn.export.prepare import FoldedGate
from gfnet_dynn.export.quantise import quantise_segments
from gfnet_dynn.model.early_exit import Gate
from gfnet_dynn.runtime.engine import ENGINES, EngineOptions, make_engine
from gfnet_dynn.runtime.segments import SegmentedNet
from gfnet_dynn.spec.backbone import IMAGENET_MEAN, IMAGENET_STD, EfficientNetLiteSpec
from gfnet_dynn.spec.network import InputSpec
from tests.export.conftest import Subject

MakeSubject = Callable[[str], Subject]


def element(value: onnx.ValueInfoProto) -> int:
    return value.type.tensor_type.elem_type


def test_pixels_are_integers_where_all_channels_are_normalised_alike() -> None:
    lite = EfficientNetLiteSpec
    assert pixel_quantisation(InputSpec(64, 0, lite.mean, lite.std)) == Quantisation(1 / 128, 127)
    assert pixel_quantisation(InputSpec(64, 0, IMAGENET_MEAN, IMAGENET_STD)) is None
    assert pixel_quantisation(InputSpec(64, 0, (0.3, 0.3, 0.3), lite.std)) is None  # 76.5 is no pixel


def test_one_node_normalises_such_an_image_and_nothing_unused_is_kept(subject: MakeSubject) -> None:
    graph = subject("lite").segments[0].graph
    kinds = [node.op_type for node in graph.node]
    assert kinds[:3] == ["Transpose", "DequantizeLinear", "Conv"]
    assert "Cast" not in kinds
    used = {name for node in graph.node for name in node.input}
    assert {each.name for each in graph.initializer} <= used
    assert [node.op_type for node in subject("gfnet").segments[0].graph.node].count("DequantizeLinear") == 0


def test_features_pass_between_convolutions_as_integers(subject: MakeSubject) -> None:
    it = subject("lite")
    first, last = quantise_segments(it.segments, it.images)
    features = next(each for each in first.graph.output if each.name == "features")
    assert (element(features), element(last.graph.input[0])) == (TensorProto.UINT8, TensorProto.UINT8)
    readers = [node.op_type for node in last.graph.node if last.graph.input[0].name in node.input]
    assert readers == ["DequantizeLinear"]
    onnx.checker.check_model(first, full_check=True)
    onnx.checker.check_model(last, full_check=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_both_sides_mean_the_same_number_by_an_integer(subject: MakeSubject, engine: str) -> None:
    pytest.importorskip(engine, reason="an extra")
    it = subject("lite")
    int8 = [each.SerializeToString() for each in quantise_segments(it.segments, it.images)]
    net = SegmentedNet(it.manifest, int8, "int8", make_engine(engine, EngineOptions(1)))
    exact = it.compiled().all_exits(it.images).logits[:, -1]
    rough = net.all_exits(it.images).logits[:, -1]
    spread = float(np.ptp(exact, axis=0).max())
    assert float(np.abs(rough - exact).max()) < 0.35 * spread  # another scale or zero on one side is far beyond


def test_features_of_global_filters_stay_in_float32(subject: MakeSubject) -> None:
    it = subject("gfnet")
    quantised = quantise_segments(it.segments, it.images)
    assert {element(each.graph.output[0]) for each in quantised} == {TensorProto.FLOAT}
    assert all(feature_quantisation(each) is None for each in quantised)


def test_a_folded_gate_answers_as_the_gate() -> None:
    torch.manual_seed(0)
    gate, logits = Gate(), 5 * torch.randn(64, 7)
    torch.nn.init.normal_(gate.linear.weight)
    with torch.no_grad():
        torch.testing.assert_close(FoldedGate(gate)(logits), gate(logits), rtol=1e-4, atol=1e-5)
        certain = torch.tensor([[1000.0, 0.0, 0.0]])
        torch.testing.assert_close(FoldedGate(gate)(certain), gate(certain))
