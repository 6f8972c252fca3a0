from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gfnet_dynn.data.loading.loaders import Batch
from gfnet_dynn.evaluation.evaluation import ExitTimes, Subject, Thresholds, evaluate, timed_rows
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.sweep import PLAIN_THRESHOLDS, THRESHOLDS
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.gfnet import GFNet
from gfnet_dynn.spec.backbone import GFNetSpec
from tests.evaluation.evaluations import SETTING, evaluation, outputs, subject, times

# Three images of two classes: at 0.5 they leave at exits 0, 1 and 2.
SMALL = ExitArrays(
    np.eye(2, dtype=np.float32)[np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]])],
    np.array([[0.9, 0.9], [0.2, 0.5], [0.1, 0.1]], np.float32),
    np.array([0, 1, 1]),
)
WHAT = Subject("Scenes", "test", ("field", "river"), (100, 300, 600), 77, "gfnet-xs", 64)


def test_one_threshold_by_hand() -> None:
    told = ExitTimes(np.array([0, 2]), np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), SETTING)
    judged = evaluate(SMALL, WHAT, told, Thresholds((0.5, 0.5), None))
    chosen = judged.chosen
    assert chosen is not None
    assert chosen.point.exits.tolist() == [0, 1, 2]
    assert chosen.point.accuracy == 1.0
    assert chosen.confusion.tolist() == [[1, 0], [0, 2]]
    assert chosen.macro_f1 == 1.0
    assert chosen.mean_macs == pytest.approx((100 + 300 + 600) / 3)
    assert chosen.point.mean_cost == pytest.approx((100 + 300 + 600) / 3 / 600)
    assert chosen.latency_ms == pytest.approx((1.0 + 30.0) / 2)  # image 0 at exit 0, image 2 at exit 2


def test_the_full_network_is_the_last_of_the_sweep() -> None:
    judged = evaluate(SMALL, WHAT, None, Thresholds(None, None))
    full = judged.sweep[-1]
    assert full.point.thresholds == (NEVER, NEVER)
    assert full.confusion.tolist() == [[0, 1], [0, 2]]
    assert full.point.accuracy == pytest.approx(2 / 3)
    assert full.macro_f1 == pytest.approx(0.4)  # 0 for field, 2 * 2 / 5 for river
    assert (full.mean_macs, full.latency_ms) == (600, None)
    assert [judgement.point.thresholds[0] for judgement in judged.sweep] == list(THRESHOLDS)


def test_without_exits_there_is_one_way_through() -> None:
    static = ExitArrays(SMALL.logits[:, -1:], SMALL.gates[:, :0], SMALL.labels)
    plain = replace(WHAT, exit_macs=(600,))
    judged = evaluate(static, plain, None, Thresholds(None, None))
    assert len(judged.sweep) == len(judged.plain_sweep) == 1
    assert judged.sweep[0].point.accuracy == pytest.approx(2 / 3)


def test_the_facts_are_passed_on() -> None:
    judged = evaluate(SMALL, WHAT, None, Thresholds(None, None))
    assert (judged.data_set, judged.part, judged.classes) == ("Scenes", "test", ("field", "river"))
    assert (judged.exit_macs, judged.parameters, judged.images) == ((100, 300, 600), 77, 3)
    assert judged.exit_accuracy == pytest.approx((2 / 3, 1.0, 2 / 3))
    assert judged.chosen is None


def test_macs_and_cost_and_latency_agree_over_the_sweep() -> None:
    judged = evaluation(6)
    for judgement in judged.sweep:
        assert judgement.mean_macs == pytest.approx(judgement.point.mean_cost * judged.exit_macs[-1])
        assert judgement.confusion.sum() == judged.images
        assert np.trace(judgement.confusion) / judged.images == pytest.approx(judgement.point.accuracy)
    latencies = [judgement.latency_ms for judgement in judged.sweep]
    assert latencies[0] == pytest.approx(11.0)  # exit 0: 1, 11 and 21 ms
    assert latencies[-1] == pytest.approx(15.0)
    assert latencies == sorted(latencies, key=lambda value: value or 0)


def test_a_network_without_early_exits_is_judged_too() -> None:
    plain = ExitArrays(SMALL.logits[:, 2:], np.zeros((3, 0), np.float32), SMALL.labels)
    judged = evaluate(
        plain, Subject("Scenes", "val", ("field", "river"), (600,), 77, "gfnet-xs", 64), None, Thresholds((), ())
    )
    assert judged.chosen is None
    assert {judgement.point.accuracy for judgement in judged.sweep} == {2 / 3}


def test_thresholds_choose_per_exit() -> None:
    chosen = evaluate(outputs(3), subject(3), times(), Thresholds((NEVER, 0.0, NEVER, NEVER), None)).chosen
    assert chosen is not None
    assert chosen.point.shares == (0, 1, 0, 0, 0)
    assert chosen.latency_ms == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("count", "wanted", "rows"),
    [(10, 3, [0, 4, 9]), (10, 1, [0]), (3, 8, [0, 1, 2]), (1, 5, [0]), (10, 0, []), (101, 5, [0, 25, 50, 75, 100])],
)
def test_timed_images_are_spread_over_the_split(count: int, wanted: int, rows: list[int]) -> None:
    assert timed_rows(count, wanted).tolist() == rows


@pytest.fixture
def net() -> EarlyExitNet:
    torch.manual_seed(0)
    return EarlyExitNet(GFNet(GFNetSpec(width=8, depth=3, patch_size=4), 8, drop_path=0.5), (0, 1), 3)


@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_collected_in_evaluation_mode_and_the_mode_put_back(net: EarlyExitNet, training: bool) -> None:
    net.train(training)
    images, labels = torch.randn(5, 3, 8, 8), torch.tensor([0, 1, 2, 1, 0])
    arrays = collect(net, [Batch(images[:3], labels[:3]), Batch(images[3:], labels[3:])])
    assert net.training is training
    assert arrays.labels.tolist() == labels.tolist()
    assert arrays.logits.dtype == arrays.gates.dtype == np.float32
    net.eval()
    with torch.no_grad():
        whole = net(images)
    np.testing.assert_allclose(arrays.logits, whole.logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(arrays.gates, 1 / (1 + np.exp(-whole.gate_logits.numpy())), atol=1e-6)


def test_the_plain_rule_is_judged_beside_the_gates() -> None:
    arrays = ExitArrays(
        np.log(np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.6, 0.4], [0.1, 0.9]]], np.float32)),
        np.zeros((2, 1), np.float32),
        np.array([0, 1]),
    )
    judged = evaluate(arrays, Subject("Scenes", "val", ("a", "b"), (1, 4), 7, "x", 8), None, Thresholds(None, (0.8,)))
    assert judged.chosen is None
    assert judged.plain is not None
    # The first image is sure at exit 1 and right there; the second goes on, and is right at the end.
    assert (judged.plain.point.exits.tolist(), judged.plain.point.accuracy) == ([0, 1], 1.0)
    assert judged.plain.mean_macs == 2.5
    assert [judgement.point.thresholds[0] for judgement in judged.plain_sweep] == list(PLAIN_THRESHOLDS)
