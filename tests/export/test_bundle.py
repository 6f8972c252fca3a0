from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from gfnet_dynn.bundle.archive import read_bundle, write_bundle
from gfnet_dynn.bundle.precisions import ALLOWED_LOSS
from gfnet_dynn.errors import ExportError
from gfnet_dynn.export import bundle as bundling
from gfnet_dynn.export.bundle import LabelledImages, TrainingImages, export_net
from gfnet_dynn.export.parity import compare, network_arrays, require_parity, segment_arrays
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.segments import Images
from tests.export.conftest import PROVENANCE, Subject, make_subject

MakeSubject = Callable[[str], Subject]


def held_out(it: Subject) -> LabelledImages:
    return LabelledImages(it.images, np.arange(len(it.images)) % 4, "selection")


def biased(segment: onnx.ModelProto, towards_the_first: float) -> onnx.ModelProto:
    """A segment whose head prefers one class."""
    other = onnx.ModelProto()
    other.CopyFrom(segment)
    bias = np.array([towards_the_first, 0, 0, 0], np.float32)
    for constant in other.graph.initializer:
        if list(constant.dims) == [4] and constant.data_type == onnx.TensorProto.FLOAT:
            constant.CopyFrom(onnx.numpy_helper.from_array(bias, constant.name))
    return other


@pytest.fixture
def ready_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that were exported already: what is tested here is what becomes of them."""
    monkeypatch.setattr(bundling, "export_segments", lambda net, spec, distance: make_subject("gfnet").segments)


@pytest.mark.usefixtures("ready_stages")
def test_a_bundle_goes_out_and_answers(subject: MakeSubject, tmp_path: Path) -> None:
    it = subject("gfnet")
    lines: list[str] = []
    exported = export_net(
        it.net, it.spec, {**PROVENANCE, "seed": 3}, held_out(it), TrainingImages(it.images), lines.append
    )
    path = write_bundle(tmp_path / "scene.gfd", exported.manifest, exported.files)
    manifest = read_bundle(path).manifest
    assert set(manifest.precisions) == {"fp32", "int8"}
    assert [exit_.name for exit_ in manifest.exits] == ["exit 1", "exit 2", "final"]
    assert [exit_.block for exit_ in manifest.exits] == [0, 1, 2]
    assert tuple(exit_.macs for exit_ in manifest.exits) == it.net.exit_macs()
    assert manifest.provenance["seed"] == 3
    assert manifest.report["measured_on"] == "selection split, 9 images"
    assert manifest.report["parity"]["logits"] < 1e-5
    assert any("9 images" in line for line in lines)
    answers = load(path, precision="fp32", threads=1).classify(list(it.images), threshold=0.0)
    expected = it.compiled().all_exits(it.images)[0][:, 0].argmax(axis=1)
    assert [answer.label for answer in answers] == [it.spec.classes[index] for index in expected]


@pytest.mark.usefixtures("ready_stages")
def test_the_report_says_what_int8_changes(subject: MakeSubject) -> None:
    it = subject("gfnet")
    report = export_net(it.net, it.spec, PROVENANCE, held_out(it), TrainingImages(it.images)).manifest.report
    logits = it.compiled().all_exits(it.images)[0]
    exact = float((logits[:, -1].argmax(axis=1) == held_out(it).labels).mean())
    assert report["precisions"]["fp32"]["full"]["accuracy"] == pytest.approx(exact, abs=1e-4)
    for precision in ("fp32", "int8"):
        assert set(report["precisions"][precision]) == {"gates", "max-softmax", "full"}
        assert sum(report["precisions"][precision]["gates"]["exit_shares"]) == pytest.approx(1, abs=1e-4)
        assert report["precisions"][precision]["full"]["macs_share"] == 1


@pytest.mark.usefixtures("ready_stages")
def test_int8_that_loses_too_much_is_left_out(subject: MakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    it = subject("gfnet")
    labels = it.compiled().all_exits(it.images)[0][:, -1].argmax(axis=1)  # fp32 is always right

    def ruined(segments: Sequence[onnx.ModelProto], images: Images) -> list[onnx.ModelProto]:
        return [biased(segment, 99) for segment in segments]

    monkeypatch.setattr(bundling, "quantise_segments", ruined)
    images = LabelledImages(it.images, labels, "selection")
    exported = export_net(it.net, it.spec, PROVENANCE, images, TrainingImages(it.images))
    assert set(exported.manifest.precisions) == {"fp32"}
    assert not any(name.startswith("int8") for name in exported.files)
    assert exported.differences["int8"]["full"].high < -ALLOWED_LOSS
    assert "int8" in exported.manifest.report["precisions"]  # what was found is stored all the same
    assert exported.manifest.auto_precisions == ("fp32",)


@pytest.mark.usefixtures("ready_stages")
@pytest.mark.parametrize(("copies", "automatic"), [(84, ("fp32",)), (86, ("fp32", "int8"))])
def test_auto_takes_int8_only_where_enough_images_show_no_loss(
    subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, copies: int, automatic: tuple[str, ...]
) -> None:
    it = subject("gfnet")  # 9 images; with 9 · 85 = 765 of equal answers the interval ends at -0.5 points
    monkeypatch.setattr(bundling, "quantise_segments", lambda segments, images: segments)
    images = LabelledImages(np.tile(it.images, (copies, 1, 1, 1)), np.arange(9 * copies) % 4, "selection")
    manifest = export_net(it.net, it.spec, PROVENANCE, images, TrainingImages(it.images)).manifest
    assert manifest.auto_precisions == automatic
    assert manifest.report["against_fp32"]["int8"]["gates"]["n"] == 9 * copies


@pytest.mark.usefixtures("ready_stages")
def test_without_calibration_there_is_no_int8(subject: MakeSubject) -> None:
    it = subject("gfnet")
    exported = export_net(it.net, it.spec, {}, held_out(it), TrainingImages())
    assert set(exported.manifest.precisions) == {"fp32"}
    assert [policy.name for policy in exported.manifest.policies] == ["full"]


def test_stages_of_another_network_are_refused(subject: MakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    it = subject("gfnet")
    changed = [it.segments[0], biased(it.segments[1], 0.1), it.segments[2]]
    monkeypatch.setattr(bundling, "export_segments", lambda net, spec, distance: changed)
    with pytest.raises(ExportError, match="9 images"):
        export_net(it.net, it.spec, PROVENANCE, held_out(it), TrainingImages())


def test_answers_that_are_no_numbers_are_refused(subject: MakeSubject) -> None:
    it = subject("gfnet")
    labels = np.zeros(len(it.images), np.int64)
    network = network_arrays(it.net, it.images, labels, it.spec.input)
    segments = segment_arrays(it.compiled(), it.images, labels)
    segments.logits[0, 0, 0] = np.nan
    with pytest.raises(ExportError):
        require_parity(compare(network, segments, it.manifest.policy("full"), "test"))


def test_a_static_network_has_one_stage_and_one_policy(subject: MakeSubject, tmp_path: Path) -> None:
    it = subject("static")
    exported = export_net(it.net, it.spec, PROVENANCE, held_out(it), TrainingImages())
    path = write_bundle(tmp_path / "static.gfd", exported.manifest, exported.files)
    assert [policy.name for policy in exported.manifest.policies] == ["full"]
    assert load(path, threads=1).classify([it.images[0]])[0].exit == "final"
