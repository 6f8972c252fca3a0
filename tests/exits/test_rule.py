from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gfnet_dynn.errors import ThresholdError
from gfnet_dynn.exits import NEVER, first_exit, per_exit, should_exit

Gates = npt.NDArray[np.float32]

GATES = np.array([[0.9, 0.1, 0.2], [0.2, 0.6, 0.9], [0.1, 0.2, 0.7], [0.1, 0.2, 0.3]], np.float32)


def gate_arrays() -> st.SearchStrategy[Gates]:
    shapes = st.tuples(st.integers(0, 12), st.integers(0, 5))
    values = st.floats(0, 1, width=32) | st.just(float("nan"))
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=values))


def walk(gates: Sequence[float], thresholds: Sequence[float]) -> int:
    """The rule in words: go from exit to exit and leave at the first whose gate is high enough."""
    for index, (gate, threshold) in enumerate(zip(gates, thresholds, strict=True)):
        if gate >= threshold:
            return index
    return len(gates)


def test_each_sample_leaves_at_its_first_open_gate() -> None:
    assert first_exit(GATES, 0.5).tolist() == [0, 1, 2, 3]


def test_thresholds_may_differ() -> None:
    assert first_exit(GATES, (0.95, 0.15, 0.65)).tolist() == [3, 1, 1, 1]


@given(st.data())
def test_the_rule_is_a_walk_from_exit_to_exit(data: st.DataObject) -> None:
    gates = data.draw(gate_arrays())
    threshold = st.floats(0, 1, width=32) | st.just(NEVER)  # float32, so that the plain walk rounds nothing
    thresholds = data.draw(st.lists(threshold, min_size=gates.shape[1], max_size=gates.shape[1]))
    expected = [walk(row, thresholds) for row in gates.tolist()]
    assert first_exit(gates, thresholds).tolist() == expected


@given(gates=gate_arrays(), lower=st.floats(0, 1), step=st.floats(0, 1))
def test_a_higher_threshold_never_lets_a_sample_leave_earlier(gates: Gates, lower: float, step: float) -> None:
    assert np.all(first_exit(gates, lower) <= first_exit(gates, lower + step if lower + step <= 1 else NEVER))


@given(gate_arrays())
def test_never_takes_all_to_the_final_classifier(gates: Gates) -> None:
    assert first_exit(gates, NEVER).tolist() == [gates.shape[1]] * len(gates)


def test_zero_lets_all_leave_at_the_first_exit() -> None:
    assert first_exit(np.zeros((3, 2), np.float32), 0.0).tolist() == [0, 0, 0]


def test_a_gate_that_is_no_number_stays_even_at_zero() -> None:
    gates = np.array([[np.nan, 0.3], [np.nan, np.nan]], np.float32)
    assert first_exit(gates, 0.0).tolist() == [1, 2]


def test_without_gates_all_go_to_the_final_classifier() -> None:
    assert first_exit(np.zeros((2, 0), np.float32), 0.5).tolist() == [0, 0]


@pytest.mark.parametrize("value", [0.1, 0.3, 0.6, 0.7, 0.95, 0.99])
def test_a_gate_at_the_threshold_leaves_in_its_own_precision(value: float) -> None:
    gate = np.array([value], np.float32)
    below = np.nextafter(gate, np.float32(0))
    assert should_exit(gate, value).tolist() == [True]
    assert should_exit(below, value).tolist() == [False]
    assert should_exit(torch.from_numpy(gate), value).tolist() == [True]
    assert should_exit(torch.from_numpy(below), value).tolist() == [False]


def test_rounding_makes_a_difference_there() -> None:
    assert any(float(np.float32(value)) < value for value in (0.1, 0.3, 0.6, 0.7, 0.95, 0.99))


def test_one_threshold_serves_all_gates() -> None:
    assert per_exit(0.5, 3) == (0.5, 0.5, 0.5)
    assert per_exit(1, 2) == (1.0, 1.0)
    assert per_exit([0.1, 0.2], 2) == (0.1, 0.2)
    assert per_exit(0.5, 0) == ()


@pytest.mark.parametrize("thresholds", [(), (0.5,), (0.5, 0.5, 0.5)])
def test_another_number_of_thresholds_is_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ThresholdError, match=rf"{len(thresholds)} thresholds? for a network with 2 early exits"):
        per_exit(thresholds, 2)


@pytest.mark.parametrize("value", [-0.1, float("nan"), -NEVER])
def test_a_threshold_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ThresholdError, match="from 0 to 1"):
        per_exit((0.5, value), 2)
    with pytest.raises(ThresholdError, match="from 0 to 1"):
        first_exit(GATES, value)
