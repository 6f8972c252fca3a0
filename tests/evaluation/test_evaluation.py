"""Policies judged from the outputs of all exits, by hand and by invariants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gfnet_dynn.benchmark.measurement import spread_rows
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.errors import DataError
from gfnet_dynn.evaluation.evaluation import Evaluator, ExitTimes, Subject
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.policies import choose_thresholds, has_thresholds, trained_policies
from gfnet_dynn.exits import NEVER, PLAIN_THRESHOLDS, THRESHOLDS, ExitArrays, Fitted
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.gfnet import GFNet
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec
from tests.evaluation.evaluations import SETTING, evaluation, outputs, policies, subject, times

# Three images of two classes: at 0.5 they exit at 0, 1 and 2.
SMALL = ExitArrays(
    np.eye(2, dtype=np.float32)[np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]])],
    np.array([[0.9, 0.9], [0.2, 0.5], [0.1, 0.1]], np.float32),
    np.array([0, 1, 1]),
)
EXITS = ("exit 1", "exit 2", "final")
WHAT = Subject("gfnet-xs", "fp32", InputSpec(64), ("field", "river"), EXITS, (100, 300, 600), 77, "Scenes", "test")
HALF, FULL = Policy("gates", "gate", (0.5, 0.5), "test"), Policy("full", "gate", (NEVER, NEVER), "test")


def test_one_policy_by_hand() -> None:
    measured = ExitTimes(np.array([0, 2]), np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), SETTING)
    result = Evaluator(SMALL, WHAT, measured).judge(HALF)
    assert result.point.exits.tolist() == [0, 1, 2]
    assert (result.accuracy.value, result.accuracy.n, result.macro_f1) == (1.0, 3, 1.0)
    assert [each and (each.value, each.n) for each in result.exit_accuracy] == [(1.0, 1)] * 3
    assert result.confusion.tolist() == [[1, 0], [0, 2]]
    assert result.mean_macs == pytest.approx((100 + 300 + 600) / 3)
    assert result.point.mean_cost == pytest.approx((100 + 300 + 600) / 3 / 600)
    assert result.latency_ms == pytest.approx((1.0 + 30.0) / 2)  # image 0 at exit 0, image 2 at exit 2


def test_the_full_network_is_the_last_of_the_sweep() -> None:
    swept = Evaluator(SMALL, WHAT).sweep("gate")
    full = swept[-1]
    assert full.policy.thresholds == (NEVER, NEVER)
    assert full.confusion.tolist() == [[0, 1], [0, 2]]
    assert full.accuracy.value == pytest.approx(2 / 3)
    assert full.macro_f1 == pytest.approx(0.4)  # 0 for field, 2 * 2 / 5 for river
    assert (full.mean_macs, full.latency_ms) == (600, None)
    assert full.exit_accuracy[:2] == (None, None)
    assert [each.policy.thresholds[0] for each in swept] == list(THRESHOLDS)


def test_policies_are_compared_on_the_same_images() -> None:
    evaluator = Evaluator(SMALL, WHAT)
    found = evaluator.compare(evaluator.judge(HALF), evaluator.judge(FULL))
    assert (found.gained, found.lost, found.n) == (1, 0, 3)
    assert found.difference == pytest.approx(1 / 3)
    assert found.low < found.difference < found.high


def test_mistakes_are_the_most_confident_first_by_the_policys_temperatures() -> None:
    logits = np.array([[[0, 1.0]], [[0, 3.0]], [[2.0, 0]], [[1.0, 0]]], np.float32)
    arrays = ExitArrays(logits, np.zeros((4, 0), np.float32), np.array([0, 0, 0, 1]))
    evaluator = Evaluator(arrays, replace(WHAT, exits=("final",), exit_macs=(600,)))
    files = [Path(name) for name in "abcd"]
    for temperature in (1.0, 2.0):
        result = evaluator.judge(Policy("full", "gate", (), "test", Fitted((temperature,))))
        found = evaluator.mistakes(result, files, 2)
        assert [(str(each.file), each.true, each.predicted, each.exit) for each in found] == [
            ("b", "field", "river", "final"),
            ("a", "field", "river", "final"),
        ]
        assert found[0].confidence == pytest.approx(1 / (1 + np.exp(-3 / temperature)))
    assert len(evaluator.mistakes(result, files, 9)) == 3


def test_outputs_that_are_no_numbers_are_refused() -> None:
    logits = SMALL.logits.copy()
    logits[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="1 of 3"):
        Evaluator(replace(SMALL, logits=logits), WHAT)


def test_macs_and_cost_and_latency_agree_over_the_sweep() -> None:
    result = evaluation(6)
    for each in result.sweeps["gate"]:
        assert each.mean_macs == pytest.approx(each.point.mean_cost * result.subject.exit_macs[-1])
        assert each.confusion.sum() == result.images
        assert np.trace(each.confusion) / result.images == pytest.approx(each.accuracy.value)
    latencies = [each.latency_ms or 0 for each in result.sweeps["gate"]]
    assert latencies[0] == pytest.approx(11.0)  # exit 0: 1, 11 and 21 ms
    assert latencies[-1] == pytest.approx(15.0)
    assert latencies == sorted(latencies)


def test_without_exits_a_sweep_has_one_point() -> None:
    static = ExitArrays(SMALL.logits[:, 2:], np.zeros((3, 0), np.float32), SMALL.labels)
    evaluator = Evaluator(static, replace(WHAT, exits=("final",), exit_macs=(600,)))
    for score in ("gate", "max-softmax"):
        (only,) = evaluator.sweep(score)
        assert only.accuracy.value == pytest.approx(2 / 3)


def test_max_softmax_is_swept_beside_the_gates() -> None:
    arrays = ExitArrays(
        np.log(np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.6, 0.4], [0.1, 0.9]]], np.float32)),
        np.zeros((2, 1), np.float32),
        np.array([0, 1]),
    )
    evaluator = Evaluator(arrays, replace(WHAT, exits=("exit 1", "final"), exit_macs=(1, 4)))
    result = evaluator.judge(Policy("max-softmax", "max-softmax", (0.8,), "test"))
    # The first image is sure at exit 1 and right there; the second goes on, and is right at the end.
    assert (result.point.exits.tolist(), result.accuracy.value, result.mean_macs) == ([0, 1], 1.0, 2.5)
    assert [each.policy.thresholds[0] for each in evaluator.sweep("max-softmax")] == list(PLAIN_THRESHOLDS)


def test_thresholds_per_exit() -> None:
    evaluator = Evaluator(outputs(4), subject(4), times())
    result = evaluator.judge(Policy("own", "gate", (NEVER, 0.0, NEVER, NEVER), "test"))
    assert set(result.point.exits.tolist()) == {1}
    assert result.latency_ms == pytest.approx(12.0)


def test_policies_come_from_training() -> None:
    gates, max_softmax, full = policies()
    assert (gates.name, gates.score, gates.thresholds) == ("gates", "gate", (0.8,) * 4)
    assert gates.source == "a rule; chosen on the selection split"
    assert (max_softmax.name, max_softmax.score) == ("max-softmax", "max-softmax")
    assert full.thresholds == (NEVER,) * 4
    nothing_saved = {"threshold": {"thresholds": None}, "max_softmax_threshold": None}
    assert [policy.name for policy in trained_policies(nothing_saved, 2)] == ["full"]


def test_chosen_thresholds_are_read_back_as_policies() -> None:
    chosen = choose_thresholds(outputs(4), (0.3, 0.5, 0.7, 0.85, 1.0), "some split", 0.5)
    assert has_thresholds(chosen)
    assert not has_thresholds({})
    names = [each.name for each in trained_policies(chosen, 4)]
    assert names == ["gates", "max-softmax", "full"]


@pytest.mark.parametrize(
    ("count", "wanted", "rows"),
    [(10, 3, [0, 4, 9]), (10, 1, [0]), (3, 8, [0, 1, 2]), (1, 5, [0]), (10, 0, []), (101, 5, [0, 25, 50, 75, 100])],
)
def test_timed_images_are_spread_over_the_split(count: int, wanted: int, rows: list[int]) -> None:
    assert spread_rows(count, wanted).tolist() == rows


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
