"""The runtime against the exit rule written out by hand, over what all exits say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError, EngineError, ImageError, ThresholdError
from gfnet_dynn.exits import NEVER, SCORES, UNFITTED, AccuracyTable, Fitted, Score
from gfnet_dynn.runtime.segments import SegmentedNet
from gfnet_dynn.spec.network import InputSpec
from tests import bundles
from tests.runtime.engines import ONNXRUNTIME, Watched

PLAIN: Score = "max-softmax"


def net(engine: Watched | None = None, **changes: Any) -> SegmentedNet:
    return SegmentedNet(bundles.manifest(), bundles.segments(**changes), "fp32", engine or ONNXRUNTIME)


TABLE = AccuracyTable((0.4, 0.55), (0.3, 0.62, 0.9))
FITTED = Fitted((0.5, 2.0, 1.0), (TABLE, TABLE))


def policy(*thresholds: float, score: Score = "gate", fitted: Fitted = UNFITTED) -> Policy:
    return Policy("own", score, thresholds, "made up", fitted)


def signal_by_hand(score: Score, logits: list[list[float]], gates: list[float], index: int, fitted: Fitted) -> float:
    """From what one image's exits 0 to `index` say."""
    if score == "gate":
        return gates[index]
    named = [max(range(len(each)), key=each.__getitem__) for each in logits[: index + 1]]
    if score == "patience":
        agreeing = len(named) - next((place for place in range(index, -1, -1) if named[place] != named[index]), -1) - 1
        return agreeing / (agreeing + 1)
    temperature = fitted.temperatures[index] if fitted.temperatures else 1
    powers = [math.exp(value / temperature) for value in logits[index]]
    probabilities = sorted((power / sum(powers) for power in powers), reverse=True)
    if score == "margin":
        return probabilities[0] - probabilities[1]
    if score == "entropy":
        return 1 + sum(each * math.log(each) for each in probabilities) / math.log(len(probabilities))
    if score == "neighbours":
        return TABLE.accuracies[sum(edge <= probabilities[0] for edge in TABLE.edges)]
    return probabilities[0]


def by_hand(staged: SegmentedNet, images: bundles.Images, chosen: Policy) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Image by image, exit by exit."""
    logits, gates, _ = staged.all_exits(images)
    exits = []
    for image_logits, image_gates in zip(logits, gates, strict=True):
        taken = len(chosen.thresholds)
        for index in reversed(range(taken)):
            said = image_logits.tolist(), image_gates.tolist()
            score = signal_by_hand(chosen.score, *said, index, chosen.fitted)
            if np.float32(score) >= np.float32(chosen.thresholds[index]):
                taken = index
        exits.append(taken)
    return logits[np.arange(len(images)), exits], exits


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("count", [1, 5, 40, 0])
@pytest.mark.parametrize(
    "thresholds", [(0.7, 0.6), (0.5, 0.5), (0.9, 0.8), (0, 0), (NEVER, 0.6), (0.7, NEVER), (NEVER, NEVER), (1.0, 1.0)]
)
def test_every_image_leaves_where_the_rule_says(score: Score, count: int, thresholds: tuple[float, float]) -> None:
    fitted = UNFITTED if score in ("gate", PLAIN) else FITTED
    images, staged, chosen = bundles.images(count, seed=count), net(), policy(*thresholds, score=score, fitted=fitted)
    answers, (logits, exits) = staged.decide(images, chosen), by_hand(staged, images, chosen)
    assert answers.exits.tolist() == exits
    assert answers.logits.dtype == np.float32
    np.testing.assert_allclose(answers.logits, logits, rtol=1e-5)


@pytest.mark.parametrize("chosen", bundles.POLICIES[:2], ids=lambda each: each.name)
def test_the_tiny_bundle_splits_a_batch_at_every_exit(chosen: Policy) -> None:
    exits = net().decide(bundles.images(40), chosen).exits
    assert np.bincount(exits, minlength=3).min() >= 4


def test_one_image_at_a_time_gives_what_a_batch_gives() -> None:
    images, staged = bundles.images(9), net()
    batch = staged.decide(images, bundles.POLICIES[0])
    for index in range(len(images)):
        alone = staged.decide(images[index : index + 1], bundles.POLICIES[0])
        assert alone.exits[0] == batch.exits[index]
        np.testing.assert_allclose(alone.logits[0], batch.logits[index], rtol=1e-5)


def test_a_gate_that_just_reaches_the_threshold_leaves() -> None:
    images, staged = bundles.images(9), net()
    gate = float(staged.all_exits(images)[1][4, 0])
    beyond = float(np.nextafter(np.float32(gate), np.float32(1)))
    assert staged.decide(images, policy(gate, NEVER)).exits[4] == 0
    assert staged.decide(images, policy(beyond, NEVER)).exits[4] == 2


def test_a_gate_that_is_no_number_stays() -> None:
    images, staged = bundles.images(5), net(gate="nan")
    logits, gates, _ = staged.all_exits(images)
    assert np.isnan(gates).all()
    answers = staged.decide(images, policy(0, 0))
    assert answers.exits.tolist() == [2] * 5
    np.testing.assert_array_equal(answers.logits, logits[:, 2])
    assert staged.decide(images, policy(0, 0, score=PLAIN)).exits.tolist() == [0] * 5


def test_each_stage_sees_only_the_images_that_stay() -> None:
    watched = Watched()
    staged = net(watched)
    exits = staged.decide(bundles.images(40), bundles.POLICIES[0]).exits
    staying = [int((exits >= index).sum()) for index in range(3)]
    assert watched.seen == [[count] for count in staying]
    assert staying[0] == 40 > staying[1] > staying[2] > 0


@pytest.mark.parametrize(
    ("thresholds", "calls"),
    [
        ((0, 0), [[5], [], []]),
        ((NEVER, 0), [[5], [5], []]),
        ((NEVER, NEVER), [[5], [5], [5]]),
    ],
)
def test_a_stage_after_which_all_have_left_is_the_last_to_run(
    thresholds: tuple[float, float], calls: list[list[int]]
) -> None:
    watched = Watched()
    net(watched).decide(bundles.images(5), policy(*thresholds))
    assert watched.seen == calls


def test_no_image_runs_no_stage() -> None:
    watched = Watched()
    answers = net(watched).decide(bundles.images(0), bundles.POLICIES[0])
    assert answers.logits.shape == (0, 3)
    assert answers.exits.shape == (0,)
    assert watched.seen == [[], [], []]


def test_all_exits_run_whatever_the_gates_say() -> None:
    logits, gates, _ = net().all_exits(bundles.images(4))
    assert logits.shape == (4, 3, 3)
    assert gates.shape == (4, 2)
    assert logits.dtype == gates.dtype == np.float32
    np.testing.assert_array_equal(net().decide(bundles.images(4), bundles.POLICIES[2]).logits, logits[:, 2])


def test_a_network_without_gates_runs_its_only_stage() -> None:
    last = bundles.POLICIES[2]
    graph = bundles.segment(0, outputs=("logits",))
    described = bundles.manifest(
        {"fp32/segment0.onnx": graph},
        exits=bundles.manifest().exits[:1],
        policies=(Policy(FULL, last.score, (), last.source),),
    )
    staged = SegmentedNet(described, [graph], "fp32", ONNXRUNTIME)
    images = bundles.images(4)
    logits, gates, _ = staged.all_exits(images)
    assert logits.shape == (4, 1, 3)
    assert gates.shape == (4, 0)
    answers = staged.decide(images, described.policy())
    assert answers.exits.tolist() == [0] * 4
    np.testing.assert_array_equal(answers.logits, logits[:, 0])


def test_images_in_any_memory_order_are_the_same_images() -> None:
    images = bundles.images(6)
    turned = np.asfortranarray(images)
    every_other = np.repeat(images, 2, axis=0)[::2]
    for each in (turned, every_other):
        np.testing.assert_array_equal(
            net().decide(each, bundles.POLICIES[0]).logits, net().decide(images, bundles.POLICIES[0]).logits
        )


@pytest.mark.parametrize("thresholds", [(), (0.5,), (0.5, 0.5, 0.5), (0.5, -1), (math.nan, 0.5)])
def test_thresholds_that_do_not_fit_the_exits_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ThresholdError):
        net().decide(bundles.images(2), policy(*thresholds))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
    ],
    ids=["float", "small", "channels first", "one"],
)
def test_images_of_another_kind_are_refused(images: npt.NDArray[Any]) -> None:
    for answer in (lambda: net().decide(images, bundles.POLICIES[0]), lambda: net().all_exits(images)):
        with pytest.raises(ImageError, match=r"takes uint8 \[images, 8, 8, 3\], not "):
            answer()


@pytest.mark.parametrize(
    ("segment", "changes", "named"),
    [
        (0, {"side": 16}, ("segment 1", "8 px")),
        (0, {"kind": TensorProto.FLOAT}, ("segment 1", "8-bit")),
        (0, {"batch": 1}, ("segment 1", "batches")),
        (0, {"classes": 4}, ("segment 1", "3 classes")),
        (1, {"classes": 2}, ("segment 2", "3 classes")),
        (2, {"classes": 1}, ("segment 3", "3 classes")),
        (0, {"gives": 4}, ("segment 1", "features")),
        (2, {"takes": 5}, ("segment 2", "features")),
        (1, {"batch": 2}, ("segment 1", "features")),
        (0, {"outputs": ("features", "logits")}, ("segment 1", "outputs")),
        (2, {"outputs": ("logits", "gate")}, ("segment 3", "outputs")),
        (2, {"outputs": ("gate",)}, ("segment 3", "3 classes")),
        (0, {"outputs": ("gate", "logits", "features")}, ("segment 1", "features")),
        (1, {"gate": "column"}, ("segment 2", "gate")),
    ],
)
def test_graphs_that_do_not_match_the_manifest_are_refused_at_load(
    segment: int, changes: Mapping[str, Any], named: tuple[str, str]
) -> None:
    graphs = bundles.segments()
    graphs[segment] = bundles.segment(segment, **changes)
    with pytest.raises(BundleError) as caught:
        SegmentedNet(bundles.manifest(), graphs, "fp32", ONNXRUNTIME)
    assert all(fact in str(caught.value) for fact in (*named, "fp32", "manifest"))


@pytest.mark.parametrize(
    "changes",
    [{"classes": ("field", "river")}, {"input": InputSpec(16)}, {"input": InputSpec(9, pad=1)}],
)
def test_a_manifest_of_another_network_is_found_at_load(changes: Mapping[str, Any]) -> None:
    with pytest.raises(BundleError, match="against the bundle's manifest"):
        SegmentedNet(bundles.manifest(**changes), bundles.segments(), "fp32", ONNXRUNTIME)


@pytest.mark.parametrize("indices", [(), (2,), (0, 2), (0, 1, 1, 2)])
def test_another_number_of_stages_is_found_at_load(indices: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match=f"segment {len(indices)} in fp32 is the last one, of 3"):
        SegmentedNet(bundles.manifest(), [bundles.segment(index) for index in indices], "fp32", ONNXRUNTIME)


def test_stages_in_another_order_are_found_at_load() -> None:
    with pytest.raises(BundleError, match="segment 1 in fp32"):
        SegmentedNet(bundles.manifest(), bundles.segments()[::-1], "fp32", ONNXRUNTIME)


def test_a_graph_that_no_engine_takes_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match="onnxruntime"):
        SegmentedNet(bundles.manifest(), [b"", b"", b""], "fp32", ONNXRUNTIME)


def test_a_graph_takes_no_numbers_from_files_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load_model_from_string(bundles.segment(0))
    mixing = next(each for each in model.graph.initializer if each.name == "mixing")
    Path("numbers.bin").write_bytes(mixing.raw_data)
    onnx.external_data_helper.set_external_data(mixing, "numbers.bin")
    mixing.ClearField("raw_data")
    graphs, watched = [model.SerializeToString(), *bundles.segments()[1:]], Watched()
    with pytest.raises(BundleError, match=r"segment 1 in fp32 .* file outside the bundle"):
        SegmentedNet(bundles.manifest(), graphs, "fp32", watched)
    assert watched.seen == []
