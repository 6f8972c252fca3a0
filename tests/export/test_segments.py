from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import ExportError
from gfnet_dynn.exits import NEVER
from gfnet_dynn.export import segments as stages_module
from gfnet_dynn.export.parity import TOLERANCE, network_arrays
from gfnet_dynn.export.prepare import prepare
from gfnet_dynn.export.segments import OPSET, export_segments
from gfnet_dynn.model.early_exit import build_net
from tests.export.conftest import KINDS, Subject

MakeSubject = Callable[[str], Subject]
ENGINES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_exit_answers_as_in_torch_whatever_the_batch(subject: MakeSubject, kind: str, engine: str) -> None:
    pytest.importorskip(engine, reason="an extra")
    it = subject(kind)
    expected = network_arrays(it.net, it.images, np.zeros(len(it.images), np.int64), it.spec.input)
    compiled = it.compiled(engine)
    for rows in (slice(0, 1), slice(2, 7), slice(None)):
        logits, gates, _ = compiled.all_exits(it.images[rows])
        assert np.abs(logits - expected.logits[rows]).max() <= TOLERANCE * max(1, np.abs(expected.logits).max())
        assert np.allclose(gates, expected.gates[rows], atol=TOLERANCE)
    assert np.ptp(expected.logits[:, -1], axis=0).max() > 0.05  # images differ, so agreement means something


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["gfnet", "convolutional stem", "lite", "hybrid"])
def test_an_image_has_the_same_logits_whatever_is_beside_it(subject: MakeSubject, kind: str, engine: str) -> None:
    pytest.importorskip(engine, reason="an extra")
    it = subject(kind)
    net, full = it.compiled(engine), Policy("full", "gate", (NEVER,) * len(it.net.gates), "test")
    expected = net.decide(it.images, full, 4).logits
    for count in range(1, len(it.images) + 1):
        for at_once in (2, 4, 9):
            assert np.array_equal(net.decide(it.images[:count], full, at_once).logits, expected[:count])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["gfnet", "lite", "hybrid"])
def test_the_same_images_leave_at_the_same_exits(subject: MakeSubject, kind: str, engine: str) -> None:
    pytest.importorskip(engine, reason="an extra")
    it = subject(kind)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (it.spec.input.mean, it.spec.input.std))
    pixels = (torch.from_numpy(it.images).permute(0, 3, 1, 2) / 255 - mean) / std
    gates = it.compiled().all_exits(it.images)[1]
    threshold = float(np.sort(gates[:, 0])[3:5].mean())  # between two images, so both ways are taken
    decision = it.net.decide(pixels, threshold)
    policy = Policy("own", "gate", (threshold,) * gates.shape[1], "test")
    answers = it.compiled(engine).decide(it.images, policy)
    assert answers.exits.tolist() == decision.exits.tolist()
    assert len(set(answers.exits.tolist())) > 1
    difference = np.abs(answers.logits - decision.logits.numpy()).max()
    assert difference <= TOLERANCE * max(1, float(decision.logits.abs().max()))


def test_graphs_take_images_of_eight_bits_and_hold_their_normalisation(subject: MakeSubject) -> None:
    first = subject("gfnet").segments[0].graph
    entrance = first.input[0].type.tensor_type
    assert entrance.elem_type == onnx.TensorProto.UINT8
    assert [side.dim_value for side in entrance.shape.dim[1:]] == [20, 20, 3]
    assert [each.name for each in first.output] == ["features", "logits", "gate"]


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_are_valid_and_of_the_stated_opset(subject: MakeSubject, kind: str) -> None:
    for segment in subject(kind).segments:
        onnx.checker.check_model(segment, full_check=True)
        assert {each.domain: each.version for each in segment.opset_import}[""] == OPSET


def test_filters_are_products_and_share_their_constants(subject: MakeSubject) -> None:
    operators = Counter(node.op_type for segment in subject("gfnet").segments for node in segment.graph.node)
    assert not {"DFT", "ConcatFromSequence", "STFT"} & set(operators)
    for segment in subject("hybrid").segments[1:]:
        contents = [constant.raw_data for constant in segment.graph.initializer if len(constant.raw_data) > 64]
        assert len(set(contents)) == len(contents)


def test_convolutions_have_their_norms_inside(subject: MakeSubject) -> None:
    operators = Counter(node.op_type for segment in subject("lite").segments for node in segment.graph.node)
    assert "BatchNormalization" not in operators
    assert operators["Sqrt"] == len(subject("lite").net.gates)  # of the deviations that its exits see


def test_the_network_itself_stays_as_it_was(subject: MakeSubject) -> None:
    it = subject("hybrid")
    before = {name: value.clone() for name, value in it.net.state_dict().items()}
    prepared = prepare(it.net)
    assert prepared is not it.net
    assert it.net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in it.net.state_dict().items())
    assert any(parameter.requires_grad for parameter in it.net.parameters())


def test_what_torch_cannot_express_is_told(subject: MakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opaque(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return tokens if tokens.sum() > 0 else -tokens  # a graph has no such branch

    it = subject("static")
    net = build_net(it.spec).eval()
    net.backbone.blocks[0].mlp = Opaque()  # type: ignore[union-attr,index] # a GFNet's
    with pytest.raises(ExportError, match="up to the final classifier in ONNX"):
        export_segments(net, it.spec)


def test_export_is_silent(subject: MakeSubject, capsys: pytest.CaptureFixture[str]) -> None:
    it = subject("static")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segments = export_segments(it.net, it.spec)
    printed = capsys.readouterr()
    assert len(segments) == 1  # a static network is not divided
    assert not caught
    assert printed.out == ""
    assert stages_module.OPSET == 20
