from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import NEVER, first_exit
from gfnet_dynn.guarantees.budget import Costs, last_in_time, levels, require_in_reach, spend
from gfnet_dynn.guarantees.paths import by_deadline
from tests.exits.populations import make_population

TIMES = Costs("latency", "ms", (2.0, 4.0, 7.0, 10.0), (3.0, 5.0, 9.0, 12.0), "measured here")


def mean_cost(thresholds: tuple[float, ...], seed: int, count: int = 4000) -> float:
    arrays = make_population().draw(count, seed)
    return float(np.array(TIMES.means)[first_exit(arrays.gates, thresholds)].mean())


@pytest.mark.parametrize("budget", [3.0, 5.0, 8.0])
def test_a_budget_is_spent_and_held_on_other_images(budget: float) -> None:
    found = spend([make_population().draw(4000, 0)], TIMES, budget)
    assert len(set(found)) == 1
    assert 0.98 * budget < mean_cost(found, 0) <= budget
    assert mean_cost(found, 1) == pytest.approx(budget, rel=0.05)


def test_more_budget_than_the_full_network_needs_is_left_over() -> None:
    assert spend([make_population().draw(500, 0)], TIMES, 50.0) == (NEVER,) * 3


def test_of_variants_the_dearest_counts() -> None:
    arrays = make_population().draw(2000, 0)
    slower = type(arrays)(arrays.logits, arrays.gates * 0.8, arrays.labels)
    both, one = spend([arrays, slower], TIMES, 5.0), spend([arrays], TIMES, 5.0)
    assert both[0] < one[0]
    assert float(np.array(TIMES.means)[first_exit(slower.gates, both)].mean()) <= 5.0


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(CalibrationError, match=r"1\.5 ms is not reachable: .* the first exit 2 \(measured here\)"):
        spend([make_population().draw(100, 0)], TIMES, 1.5)
    with pytest.raises(
        CalibrationError,
        match=r"deadline of 2\.5 ms is not reachable: .* first exit, which every image passes, is 3 ms",
    ):
        last_in_time(TIMES, 2.5)
    with pytest.raises(CalibrationError, match="needs the 99th percentile"):
        last_in_time(Costs("MACs", "M", (1.0, 2.0), None, "counted"), 5)


def test_what_no_images_can_reach_is_said_without_any() -> None:
    with pytest.raises(CalibrationError) as caught:
        require_in_reach(TIMES, 1.5)
    assert str(caught.value) == (
        "latency: a mean of 1.5 ms is not reachable: the cheapest setting costs 2 ms, the first exit 2 (measured here)"
    )
    with pytest.raises(
        CalibrationError,
        match=r"deadline of 2\.5 ms is not reachable: .* first exit, which every image passes, is 3 ms",
    ):
        require_in_reach(TIMES, None, 2.5)
    with pytest.raises(CalibrationError, match="deadline of 2 ms is not reachable"):
        require_in_reach(TIMES, 5.0, 2.0)
    with pytest.raises(CalibrationError, match="needs the 99th percentile"):
        require_in_reach(Costs("MACs", "M", (1.0, 2.0), None, "counted"), None, 5)


def test_what_some_images_may_reach_is_not_refused_before_they_are_seen() -> None:
    require_in_reach(TIMES, 2.0, 3.0)
    require_in_reach(TIMES, None)
    # Measured exits that changed places: no setting is below the cheaper one.
    turned = Costs("latency", "ms", (2.1, 2.0, 7.0), None, "measured here")
    require_in_reach(turned, 2.0)
    with pytest.raises(CalibrationError, match=r"the cheapest setting costs 2 ms, the first exit 2\.1"):
        require_in_reach(turned, 1.9)


def test_a_path_that_ends_above_the_budget_is_refused_with_its_own_end() -> None:
    arrays, dear = make_population().draw(500, 0), levels([make_population().draw(500, 0)])[:1]
    with pytest.raises(
        CalibrationError, match="latency: a mean of 5 ms is not reachable: the cheapest setting costs 10"
    ):
        spend([arrays], TIMES, 5.0, dear)


@pytest.mark.parametrize("images", [3, 12, 13, 15])
def test_the_cost_of_the_first_exit_is_in_reach(images: int) -> None:
    tenths = Costs("latency", "ms", (0.1, 0.2, 0.3, 0.4), None, "measured here")
    arrays = make_population().draw(images, 0)
    assert not first_exit(arrays.gates, spend([arrays], tenths, 0.1)).any()


@pytest.mark.parametrize(("deadline", "last"), [(3.0, 0), (8.9, 1), (9.0, 2), (100.0, 3)])
def test_deadlines_end_at_the_last_exit_in_time(deadline: float, last: int) -> None:
    assert last_in_time(TIMES, deadline) == last


def test_a_deadline_and_a_budget_hold_together() -> None:
    arrays = make_population().draw(2000, 0)
    found = spend([arrays], TIMES, 4.0, by_deadline(levels([arrays]), 2))
    assert found[2] == 0
    assert 3.8 < mean_cost(found, 0, 2000) <= 4.0


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_costs_are_positive_numbers(value: float) -> None:
    with pytest.raises(CalibrationError, match="must be a positive number"):
        Costs("latency", "ms", (value, 1.0), None, "measured")
