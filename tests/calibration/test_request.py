from __future__ import annotations

import math

import pytest

from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.score_fitting import SCALED
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.scores import SCORES, Score
from gfnet_dynn.guarantees.control import Method, RiskTarget
from gfnet_dynn.guarantees.risk import RiskName
from tests.calibration.populations import TIMED, order


@pytest.mark.parametrize("asked", [{"target": RiskTarget("harmful-exits", 0.01)}, {"budget": 4.0}, {"deadline": 5.0}])
def test_one_thing_to_keep_is_enough(asked: dict[str, object]) -> None:
    assert CalibrationRequest("p", TIMED, **asked) == order(name="p", **asked)  # type: ignore[arg-type] # by name


@pytest.mark.parametrize("further", [{}, {"coverage": 0.9}, {"false_alarms": 0.01}, {"per_exit": True}])
def test_nothing_to_keep_is_refused_with_what_to_give(further: dict[str, object]) -> None:
    with pytest.raises(CalibrationError, match="nothing to calibrate for: give a risk, a budget or a deadline"):
        CalibrationRequest("p", TIMED, **further)  # type: ignore[arg-type] # by name


@pytest.mark.parametrize("name", ["", "  ", "\n", "full"])
def test_a_policy_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(CalibrationError, match="a policy needs a printable name of its own, not "):
        order(name=name)


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", "\x1b[31mred", "half \ud800 a character", "a\0b", "\x85"])
def test_a_name_that_no_bundle_could_be_read_with_is_refused(name: str) -> None:
    with pytest.raises(CalibrationError, match="a policy needs a printable name of its own, not "):
        order(name=name)


@pytest.mark.parametrize("name", ["strict", "1 point", "Fluß", "森", "a/b", "full 2"])
def test_any_other_name_will_do(name: str) -> None:
    assert order(name=name).name == name


@pytest.mark.parametrize("what", ["budget", "deadline"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_of_the_cost_is_a_positive_number(what: str, value: float) -> None:
    with pytest.raises(CalibrationError, match=rf"a {what} is a positive number of ms, not {value:g}"):
        order(**{"deadline": 5.0, what: value})


@pytest.mark.parametrize(("what", "said"), [("coverage", "coverage"), ("false_alarms", "share of false alarms")])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_shares_lie_between_0_and_1(what: str, said: str, value: float) -> None:
    with pytest.raises(CalibrationError, match=rf"the {said} lies between 0 and 1, not at {value:g}"):
        order(**{what: value})


@pytest.mark.parametrize(
    ("risk", "method"),
    [
        ("harmful-exits", "conformal"),
        ("harmful-exits", "naive"),
        ("harmful-exits", "betting"),
        ("accuracy-drop", "betting"),
        ("accuracy-drop", "hoeffding-bentkus"),
        ("brier", "betting"),
    ],
)
def test_a_method_that_leaves_nothing_of_its_level_has_one_threshold(risk: RiskName, method: Method) -> None:
    """Sharing the level instead costs more than it saves at times, and the cheaper of two would break it."""
    target = RiskTarget(risk, 0.1, method=method)
    said = rf"^{method} for {risk} leaves nothing .*: leave --per-exit away, or ask for exact or hoeffding-bentkus and"
    with pytest.raises(CalibrationError, match=said):
        order(target=target, per_exit=True)
    assert order(target=target).target == target


@pytest.mark.parametrize("risk", ["harmful-exits", "error", "disagreement"])
@pytest.mark.parametrize("method", ["exact", "hoeffding-bentkus"])
def test_one_that_counts_images_has_a_threshold_for_each_exit(risk: RiskName, method: Method) -> None:
    assert order(target=RiskTarget(risk, 0.1, method=method), per_exit=True).per_exit


@pytest.mark.parametrize("seed", [-1, -(2**40)])
def test_a_seed_is_no_negative_number(seed: int) -> None:
    with pytest.raises(CalibrationError, match=rf"a seed is 0 or more, not {seed}"):
        order(seed=seed)


@pytest.mark.parametrize("score", SCORES)
def test_images_are_set_apart_for_what_is_fitted_only(score: Score) -> None:
    assert (order(score=score).fit_share > 0) == (score in SCALED)
    assert order(score=score, per_exit=True).fit_share > 0
    assert order(score=score).later_share == 0


@pytest.mark.parametrize("further", [{"coverage": 0.9}, {"false_alarms": 0.1}, {"coverage": 0.9, "false_alarms": 0.1}])
def test_images_are_set_apart_for_sets_and_alarms_and_some_are_left(further: dict[str, float]) -> None:
    asked = order(**further)
    assert asked.fit_share == 0
    assert 0 < asked.later_share < 1
    both = order(per_exit=True, **further)
    assert 0 < both.fit_share + both.later_share < 1
