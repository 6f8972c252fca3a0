from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.exits import NEVER, THRESHOLDS, ExitArrays, OperatingPoint, last_within, operate, sweep

COSTS = (0.25, 0.5, 1.0)


def one_hot(predictions: list[list[int]], classes: int = 3) -> np.ndarray:
    return np.asarray(np.eye(classes, dtype=np.float32)[np.array(predictions)])


# Four images: leave at 0.5 after exit 0, 1, 2 and 2; exit 0 is right on the first alone, the last exit on all but it.
SMALL = ExitArrays(
    one_hot([[0, 0, 1], [1, 2, 2], [0, 1, 2], [2, 2, 0]]),
    np.array([[0.9, 0.9], [0.4, 0.6], [0.1, 0.2], [0.3, 0.45]], np.float32),
    np.array([0, 2, 2, 0]),
)


@st.composite
def outputs(draw: st.DrawFn) -> ExitArrays:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    samples, gates, classes = draw(st.integers(1, 40)), draw(st.integers(0, 4)), draw(st.integers(2, 5))
    return ExitArrays(
        generator.normal(size=(samples, gates + 1, classes)).astype(np.float32),
        generator.random((samples, gates)).astype(np.float32),
        generator.integers(0, classes, samples),
    )


def costs_of(arrays: ExitArrays) -> list[float]:
    return [float(index) for index in range(1, arrays.logits.shape[1] + 1)]


def test_one_setting_by_hand() -> None:
    point = operate(SMALL, COSTS, 0.5)
    assert point.thresholds == (0.5, 0.5)
    assert point.exits.tolist() == [0, 1, 2, 2]
    assert point.predictions.tolist() == [0, 2, 2, 0]
    assert point.accuracy == 1.0
    assert point.shares == (0.25, 0.25, 0.5)
    assert point.mean_cost == pytest.approx((0.25 + 0.5 + 1.0 + 1.0) / 4)


def test_the_ends_are_the_first_exit_and_the_full_network() -> None:
    first, full = operate(SMALL, COSTS, 0.0), operate(SMALL, COSTS, NEVER)
    assert (first.accuracy, first.shares, first.mean_cost) == (0.25, (1.0, 0.0, 0.0), 0.25)
    assert (full.accuracy, full.shares, full.mean_cost) == (0.75, (0.0, 0.0, 1.0), 1.0)


def test_thresholds_may_differ_between_the_exits() -> None:
    assert operate(SMALL, COSTS, (NEVER, 0.5)).exits.tolist() == [1, 1, 2, 2]


@given(arrays=outputs(), threshold=st.floats(0, 1))
def test_costs_weighted_by_shares_give_the_mean_cost(arrays: ExitArrays, threshold: float) -> None:
    point = operate(arrays, costs_of(arrays), threshold)
    assert sum(point.shares) == pytest.approx(1)
    assert sum(s * c for s, c in zip(point.shares, costs_of(arrays), strict=True)) == pytest.approx(point.mean_cost)
    assert np.mean(point.predictions == arrays.labels) == pytest.approx(point.accuracy)


@given(outputs())
def test_costs_rise_with_the_threshold_up_to_the_full_network(arrays: ExitArrays) -> None:
    points = sweep(arrays, costs_of(arrays))
    costs = [point.mean_cost for point in points]
    assert costs == sorted(costs)
    assert costs[0] == 1.0
    assert costs[-1] == arrays.logits.shape[1]
    assert points[-1].accuracy == pytest.approx(np.mean(arrays.logits[:, -1].argmax(1) == arrays.labels))


def test_the_sweep_goes_up_and_ends_with_the_full_network() -> None:
    assert list(THRESHOLDS) == sorted(set(THRESHOLDS))
    assert THRESHOLDS[0] == 0.0
    assert THRESHOLDS[-1] == NEVER
    assert [point.thresholds for point in sweep(SMALL, COSTS, (0.2, NEVER))] == [(0.2, 0.2), (NEVER, NEVER)]


def points_with(*differing_and_cost: tuple[int, float], images: int = 100) -> list[OperatingPoint]:
    """Points of which so many images get another answer than the full network's."""
    some = operate(SMALL, COSTS, 0.5)
    return [
        replace(some, predictions=(np.arange(images) < differing).astype(np.intp), mean_cost=cost)
        for differing, cost in differing_and_cost
    ]


def test_the_last_point_before_too_many_answers_differ_is_chosen() -> None:
    points = points_with((20, 0.2), (8, 0.4), (2, 0.6), (0, 0.8), (0, 1.0))
    chosen = [last_within(points, loss).mean_cost for loss in (0.0, 0.01, 0.02, 0.1, 0.2)]
    assert chosen == [0.8, 0.8, 0.6, 0.4, 0.2]


def test_what_looks_good_again_beyond_a_loss_is_not_trusted() -> None:
    points = points_with((0, 0.2), (2, 0.4), (0, 0.6), (0, 1.0))
    assert last_within(points, 0.0).mean_cost == 0.6


@pytest.mark.parametrize("images", [50, 100, 210, 1000])
def test_a_loss_that_is_just_allowed_is_allowed_whatever_the_rounding(images: int) -> None:
    for differing in range(1, images + 1, 7):
        points = points_with((differing, 0.5), (0, 1.0), images=images)
        assert last_within(points, differing / images).mean_cost == 0.5
        assert last_within(points, (differing - 0.5) / images).mean_cost == 1.0


@given(arrays=outputs(), loss=st.floats(0, 1))
def test_the_choice_keeps_its_promise(arrays: ExitArrays, loss: float) -> None:
    points = sweep(arrays, costs_of(arrays))
    chosen = points.index(last_within(points, loss))
    differing = [float((point.predictions != points[-1].predictions).mean()) for point in points]
    assert all(share <= loss + 1e-6 for share in differing[chosen:])
    assert chosen == 0 or differing[chosen - 1] > loss
