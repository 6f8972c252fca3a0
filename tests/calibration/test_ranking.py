from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gfnet_dynn.calibration.fitting import FIT_SHARE, fit
from gfnet_dynn.calibration.reliability import rank_scores
from gfnet_dynn.exits import SCORES, ExitArrays, Score, by_score
from gfnet_dynn.guarantees.paths import exits_along, same_for_all
from tests.calibration.populations import TIMED, make_scenes

ONE_EXIT = (1.0, 3.0)


def knowing(images: int, seed: int = 0) -> ExitArrays:
    """Exits err on images of their own, confidence knows it roughly, and the gates know it exactly."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, images)
    logits = generator.normal(0, 1, (images, 4, 4))
    for index in range(4):
        logits[np.arange(images), index, labels] += generator.choice((1.2, 3.5), images)
    arrays = ExitArrays(logits.astype(np.float32), np.zeros((images, 3), np.float32), labels)
    # An image that is right wherever it goes may leave; one that never is right may too.
    worth = arrays.correct[:, :3].astype(np.float64) - arrays.correct[:, 3:]
    arrays.gates[:] = (0.5 + 0.4 * worth + generator.uniform(0, 0.05, worth.shape)).astype(np.float32)
    return arrays


def right_after_leaving_late(images: int, seed: int = 0) -> ExitArrays:
    """One exit that is always wrong before a classifier that is always right: accuracy is the share that stays."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, images)
    logits = generator.normal(0, 1, (images, 2, 3))
    logits[np.arange(images), 0, labels] = -9
    logits[np.arange(images), 1, labels] = 9
    return ExitArrays(logits.astype(np.float32), generator.random((images, 1)).astype(np.float32), labels)


@pytest.mark.parametrize("mean_cost", [3.0, 5.0, 8.0])
def test_a_signal_that_knows_ranks_first(mean_cost: float) -> None:
    ranked = rank_scores(knowing(3000), TIMED.means, mean_cost)
    assert ranked[0].score == "gate"
    assert sorted(each.score for each in ranked) == sorted(SCORES)
    assert [each.accuracy for each in ranked] == sorted((each.accuracy for each in ranked), reverse=True)
    assert ranked[0].accuracy > ranked[1].accuracy + 0.02
    for each in ranked[1:]:
        assert each.against_gate < -2 * each.standard_error < 0


def test_a_signal_that_knows_nothing_ranks_last() -> None:
    arrays = knowing(3000)
    blind = replace(arrays, gates=np.random.default_rng(1).random(arrays.gates.shape).astype(np.float32))
    ranked = rank_scores(blind, TIMED.means, 4.0)
    assert ranked[-1].score == "gate"
    assert all(each.against_gate > 2 * each.standard_error > 0 for each in ranked[:-1])


def test_signals_turned_round_are_worse_than_none() -> None:
    arrays = knowing(3000)
    lying = replace(arrays, gates=1 - arrays.gates)
    accuracy = {each.score: each.accuracy for each in rank_scores(lying, TIMED.means, 5.0)}
    assert accuracy["gate"] == min(accuracy.values()) < accuracy["patience"] - 0.05


@pytest.mark.parametrize("mean_cost", [1.0, 1.3, 2.0, 2.77, 3.0])
def test_all_signals_cost_the_same(mean_cost: float) -> None:
    """Where what stays is right and what leaves is wrong, equal accuracy is equal cost."""
    ranked = rank_scores(right_after_leaving_late(500), ONE_EXIT, mean_cost)
    for each in ranked:
        assert each.accuracy == pytest.approx((mean_cost - 1) / 2, abs=1e-9)
        assert each.against_gate == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("costs", [(3.0, 1.0, 3.0), (1.0, 1.0, 3.0), (1.0, 3.0, 3.0)])
@pytest.mark.parametrize("mean_cost", [1.2, 2.0, 2.9])
def test_all_signals_cost_the_same_though_measured_costs_do_not_ascend(
    costs: tuple[float, ...], mean_cost: float
) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 600)
    logits = generator.normal(0, 1, (600, 3, 3))
    for index, cost in enumerate(costs):  # dear exits are right, cheap ones wrong: accuracy tells the cost
        logits[np.arange(600), index, labels] = 9 if cost == 3 else -9
    arrays = ExitArrays(logits.astype(np.float32), generator.random((600, 2)).astype(np.float32), labels)
    for each in rank_scores(arrays, costs, mean_cost):
        reach = costs_in_reach(arrays, costs, each.score)
        wanted = min(max(mean_cost, reach[0]), reach[1])
        assert each.accuracy == pytest.approx((wanted - 1) / 2, abs=1e-9)
        assert 0 <= each.accuracy <= 1


def costs_in_reach(arrays: ExitArrays, costs: tuple[float, ...], score: Score) -> tuple[float, float]:
    """The least and the largest mean cost that any threshold has, on the images that are judged."""
    shuffled = np.random.default_rng(0).permutation(600)
    cut = round(FIT_SHARE * 600)
    fitting, judged = arrays.take(np.sort(shuffled[:cut])), arrays.take(np.sort(shuffled[cut:]))
    gates = by_score(judged, score, fit(fitting, score)).gates
    steps = [math.inf, *np.unique(gates)[::-1].tolist(), 0.0]
    means = np.array(costs)[exits_along(gates, same_for_all(2, steps))].mean(axis=0)
    return float(means.min()), float(means.max())


def test_beyond_the_dearest_and_below_the_cheapest_the_ends_are_compared() -> None:
    arrays = right_after_leaving_late(300)
    assert {each.accuracy for each in rank_scores(arrays, ONE_EXIT, 99.0)} == {1.0}
    assert {each.accuracy for each in rank_scores(arrays, ONE_EXIT, 0.5)} == {0.0}


def test_fitted_signals_are_judged_on_images_that_they_were_not_fitted_to() -> None:
    arrays = knowing(1000)
    shuffled = np.random.default_rng(4).permutation(1000)
    judged = np.sort(shuffled[round(FIT_SHARE * 1000) :])
    spoilt = ExitArrays(arrays.logits.copy(), arrays.gates.copy(), arrays.labels.copy())
    fitting = np.setdiff1d(np.arange(1000), judged)
    spoilt.labels[fitting] = (spoilt.labels[fitting] + 1) % 4
    before = {each.score: each for each in rank_scores(arrays, TIMED.means, 5.0, seed=4)}
    after = {each.score: each for each in rank_scores(spoilt, TIMED.means, 5.0, seed=4)}
    assert after["gate"] == before["gate"]
    assert after["patience"] == before["patience"]
    assert after["margin"].accuracy != before["margin"].accuracy  # fitted to nonsense
    full = rank_scores(arrays, TIMED.means, TIMED.means[-1], seed=4)
    assert full[0].accuracy == arrays.correct[judged, -1].mean()


def test_the_seed_divides_the_images() -> None:
    arrays = knowing(500)
    assert rank_scores(arrays, TIMED.means, 5.0, seed=1) == rank_scores(arrays, TIMED.means, 5.0, seed=1)
    assert rank_scores(arrays, TIMED.means, 5.0, seed=1) != rank_scores(arrays, TIMED.means, 5.0, seed=2)


def test_the_gate_differs_from_itself_by_nothing() -> None:
    (alone,) = rank_scores(knowing(200), TIMED.means, 5.0, scores=("gate",))
    assert (alone.against_gate, alone.standard_error) == (0, 0)


def test_the_error_of_a_difference_is_that_of_the_difference() -> None:
    """Both are judged on the same images: over many draws the difference varies as much as its error says."""
    found = [
        rank_scores(make_scenes().draw(300, seed), TIMED.means, 5.0, scores=("gate", "patience")) for seed in range(150)
    ]
    patience = [next(each for each in ranked if each.score == "patience") for ranked in found]
    spread = float(np.std([each.against_gate for each in patience], ddof=1))
    assert spread == pytest.approx(float(np.mean([each.standard_error for each in patience])), rel=0.25)
