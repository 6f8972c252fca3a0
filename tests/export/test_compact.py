from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.errors import ExportError
from gfnet_dynn.export import bundle as bundling
from gfnet_dynn.export.bundle import LabelledImages, TrainingImages, export_net
from gfnet_dynn.export.compact import compact_weights
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.segments import SegmentedNet
from tests.export.conftest import PROVENANCE, Subject

MakeSubject = Callable[[str], Subject]


def compiled(it: Subject, engine: str) -> SegmentedNet:
    graphs = [compact_weights(segment).SerializeToString() for segment in it.segments]
    return SegmentedNet(it.manifest, graphs, "fp32", make_engine(engine, EngineOptions(threads=1)))


def test_answers_stay_close_and_files_shrink(subject: MakeSubject) -> None:
    it = subject("lite")
    compact = [compact_weights(segment) for segment in it.segments]
    for segment in compact:
        onnx.checker.check_model(segment, full_check=True)
    exact, close = (net.all_exits(it.images)[0] for net in (it.compiled(), compiled(it, "onnxruntime")))
    assert np.corrcoef(exact.ravel(), close.ravel())[0, 1] > 0.95  # random weights, which amplify what is rounded
    assert np.abs(exact - close).max() > 0  # so it was this graph that ran
    assert sum(each.ByteSize() for each in compact) < 0.4 * sum(each.ByteSize() for each in it.segments)


def test_both_engines_answer_alike(subject: MakeSubject) -> None:
    pytest.importorskip("openvino", reason="an extra")
    it = subject("lite")
    first, second = (compiled(it, engine).all_exits(it.images)[0] for engine in ("onnxruntime", "openvino"))
    assert np.allclose(first, second, atol=1e-3 * np.abs(first).max())


def layer(
    kind: str, entering: tuple[int, ...], weights: npt.NDArray[np.float32], attributes: dict[str, Any], name: str = "y"
) -> onnx.ModelProto:
    """A graph of one layer with a bias."""
    bias = numpy_helper.from_array(np.zeros(1, np.float32), "b")
    nodes = [helper.make_node(kind, ["x", "w"], ["z"], **attributes), helper.make_node("Add", ["z", "b"], [name])]
    entrance = helper.make_tensor_value_info("x", TensorProto.FLOAT, entering)
    found = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, kind, [entrance], [found], [numpy_helper.from_array(weights, "w"), bias])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_classifiers_and_small_layers_keep_their_weights() -> None:
    weights = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    classifier = layer("MatMul", (1, 256), weights, {}, name="logits")
    small = layer("MatMul", (1, 256), weights[:, :8], {})
    for model in (classifier, small):
        assert compact_weights(model) == model
    assert compact_weights(layer("MatMul", (1, 256), weights, {})) != layer("MatMul", (1, 256), weights, {})


def test_each_output_channel_has_its_own_scale() -> None:
    generator = np.random.default_rng(0)
    layers: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], int]] = [
        ("Conv", (64, 32, 3, 3), (1, 32, 3, 3), {}, 0),
        ("MatMul", (256, 64), (1, 256), {}, 1),
        ("Gemm", (64, 256), (1, 256), {"transB": 1}, 0),
    ]
    for kind, shape, entering, attributes, axis in layers:
        channels = np.moveaxis(generator.normal(size=shape).astype(np.float32), axis, 0).copy()
        channels[3] *= 1e-4  # lost entirely with one scale for all
        channels[5] = 0
        weights = np.ascontiguousarray(np.moveaxis(channels, 0, axis))
        model = layer(kind, entering, weights, attributes)
        constants = {each.name: numpy_helper.to_array(each) for each in compact_weights(model).graph.initializer}
        assert constants["w_8bit"].dtype == np.int8
        restored = np.moveaxis(constants["w_8bit"] * constants["w_scale"], axis, 0)
        largest = np.abs(channels).reshape(64, -1).max(axis=1)
        errors = np.abs(restored - channels).reshape(64, -1).max(axis=1)
        assert (errors <= largest / 254 * 1.001).all()
        assert model.graph.node[0].op_type == kind  # the original is as it was


def test_a_compact_bundle_reports_what_it_cost_and_refuses_a_loss(
    subject: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = subject("gfnet")
    monkeypatch.setattr(bundling, "export_segments", lambda net, spec, distance: it.segments)
    labels = it.compiled().all_exits(it.images)[0][:, -1].argmax(axis=1)  # exact weights are always right
    images = LabelledImages(np.tile(it.images, (40, 1, 1, 1)), np.tile(labels, 40), "selection")
    exported = export_net(it.net, it.spec, PROVENANCE, images, TrainingImages(), compact=True)
    weights = exported.manifest.report["weights"]
    assert weights["bits"] == 8
    assert set(weights["against_32_bits"]) == {"gates", "max-softmax", "full"}
    assert weights["against_32_bits"]["full"]["lost"] == 0
    assert exported.files["fp32/segment0.onnx"] == compact_weights(it.segments[0]).SerializeToString()

    def ruined(segment: onnx.ModelProto) -> onnx.ModelProto:
        return it.segments[0] if segment is it.segments[0] else _without_head(segment)

    monkeypatch.setattr(bundling, "compact_weights", ruined)
    with pytest.raises(ExportError, match="8 bits"):
        export_net(it.net, it.spec, PROVENANCE, images, TrainingImages(), compact=True)


def _without_head(segment: onnx.ModelProto) -> onnx.ModelProto:
    """The segment with heads that prefer the first class."""
    other = onnx.ModelProto()
    other.CopyFrom(segment)
    for constant in other.graph.initializer:
        if list(constant.dims) == [4] and constant.data_type == TensorProto.FLOAT:
            constant.CopyFrom(numpy_helper.from_array(np.array([99, 0, 0, 0], np.float32), constant.name))
    return other
