"""What calibration guarantees, held against populations whose risks and coverage are known."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from gfnet_dynn.bundle.policy import Policy, UnknownRule, restore_infinities
from gfnet_dynn.calibration.fitting import Parts, Rows, fit, pooled_exits
from gfnet_dynn.calibration.fitting import divide as divide_for
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.search import FoundPolicy
from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import NEVER, SCORES, UNFITTED, ExitArrays, Score, by_score, first_exit, operate, softmax
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import Method, RiskTarget, control, unused_level
from gfnet_dynn.guarantees.paths import by_deadline, exits_along, greedy_path, same_for_all, values_at
from gfnet_dynn.guarantees.risk import Risk, RiskName, risk_of
from gfnet_dynn.uncertainty.conformal import (
    familiarity,
    is_unknown,
    nonconformity,
    per_exit_quantiles,
    prediction_sets,
    unknown_thresholds,
)
from gfnet_dynn.uncertainty.drift import Observations, compare, reference_of
from tests.calibration.populations import COUNTED, TIMED, Order, calibrate, make_int8, make_scenes, order, outputs
from tests.exits.populations import SIZE, Population

DRAWS = [100, pytest.param(300, marks=pytest.mark.release)]
HARM = RiskTarget("harmful-exits", 0.04, 0.9, "exact")
LATER = {"coverage": 0.9, "false_alarms": 0.1}
PRICE = np.array(TIMED.means)


def scenes(count: int, seed: int = 0) -> Outputs:
    return outputs(make_scenes().draw(count, seed))


def both(count: int, seed: int = 0) -> Outputs:
    """The same images in fp32 and in a worse int8."""
    return outputs(make_scenes().draw(count, seed), make_int8().draw(count, seed))


Make = Callable[[], Population]


@cache
def harms(make: Make) -> Risk:
    """Against the full network in fp32."""
    return risk_of(make().arrays, "harmful-exits", make_scenes().arrays)


def true_risk(make: Make, thresholds: Sequence[float]) -> float:
    """Over the whole population: no estimate."""
    return float(values_at(harms(make).losses, exits_along(make().arrays.gates, np.array([thresholds]))).mean())


def beyond(level: float, draws: int) -> float:
    """A share of the draws that a level is below, but for chance."""
    return level + 2.5 * math.sqrt(level * (1 - level) / draws)


def divide(images: int, asked: Order) -> Parts:
    return divide_for(images, asked.request)


# The division of the images


@pytest.mark.parametrize("score", ["gate", "patience", "margin"])
@pytest.mark.parametrize("per_exit", [False, True])
@pytest.mark.parametrize("later", [{}, LATER, {"coverage": 0.9}, {"false_alarms": 0.1}])
def test_every_image_serves_one_purpose(score: Score, per_exit: bool, later: dict[str, float]) -> None:
    asked = order(score=score, per_exit=per_exit, **later)
    for images in (3, 4, 5, 6, 10, 101, 1000):
        parts = divide(images, asked)
        together = np.concatenate((parts.fit, parts.test, parts.later))
        assert sorted(together.tolist()) == list(range(images))
        for rows in (parts.fit, parts.test, parts.later):
            assert rows.tolist() == sorted(rows.tolist())
        assert len(parts.fit) == pytest.approx(0.3 * images if per_exit or score == "margin" else 0, abs=0.5)
        assert len(parts.later) == pytest.approx(0.3 * images if later else 0, abs=0.5)
        assert len(parts.test) > 0
        assert (len(parts.fit) > 0) == (per_exit or score == "margin")
        assert (len(parts.later) > 0) == bool(later)


def test_the_division_is_by_chance_and_the_same_for_the_same_seed() -> None:
    asked = order(per_exit=True, **LATER)
    first, again, other = divide(200, asked), divide(200, asked), divide(200, replace(asked, seed=1))
    for name in ("fit", "test", "later"):
        assert getattr(first, name).tolist() == getattr(again, name).tolist() != getattr(other, name).tolist()
        assert np.ptp(getattr(first, name)) > 150  # files come sorted by class: from all over them


def test_what_else_is_asked_for_does_not_move_an_image() -> None:
    asked = order(per_exit=True, **LATER)
    same = divide(200, replace(asked, name="other", budget=7.0, score="margin", coverage=0.5, costs=COUNTED))
    assert same.later.tolist() == divide(200, asked).later.tolist()


def spoilt(source: Outputs, rows: Rows) -> Outputs:
    """The same, but that the images of some rows are wholly different ones."""
    generator = np.random.default_rng(99)
    found = {}
    for name, arrays in source.precisions.items():
        logits, gates, labels = arrays.logits.copy(), arrays.gates.copy(), arrays.labels.copy()
        logits[rows] = generator.normal(0, 5, logits[rows].shape)
        gates[rows] = generator.random(gates[rows].shape)
        labels[rows] = generator.integers(0, logits.shape[2], len(rows))
        found[name] = ExitArrays(logits, gates, labels)
    return replace(source, precisions=found)


ORDERS = [
    order(**LATER),
    order(score="neighbours", **LATER),
    order(per_exit=True, **LATER),
    order(target=HARM, **LATER),
    order(target=HARM, score="max-softmax", **LATER),
    order(deadline=6.0, budget=4.0, score="entropy", per_exit=True, **LATER),
]


def short(asked: Order) -> str:
    return f"{asked.score}{' per exit' if asked.per_exit else ''}{' risk' if asked.target else ''}"


@pytest.mark.parametrize("asked", ORDERS, ids=short)
def test_thresholds_and_signals_know_nothing_of_the_later_part(asked: Order) -> None:
    source = both(600)
    plain, later = calibrate(source, asked), calibrate(spoilt(source, divide(600, asked).later), asked)
    assert later.policy.thresholds == plain.policy.thresholds
    assert later.policy.fitted == plain.policy.fitted
    assert later.policy.references == plain.policy.references
    assert later.policy.guarantee == plain.policy.guarantee
    assert later.point(later.precision).accuracy == plain.point(plain.precision).accuracy
    assert later.policy.prediction_sets != plain.policy.prediction_sets
    assert later.policy.unknown_rule != plain.policy.unknown_rule


@pytest.mark.parametrize("asked", [each for each in ORDERS if len(divide(600, each).fit)], ids=short)
def test_signals_know_nothing_of_the_images_that_are_tested(asked: Order) -> None:
    source = both(600)
    parts = divide(600, asked)
    plain = calibrate(source, asked)
    assert plain.policy.fitted == fit(source.precisions["fp32"].take(parts.fit), asked.score)
    deadline = replace(asked, target=None, budget=None, deadline=6.0)  # thresholds that no image decides
    other = calibrate(spoilt(source, parts.test), deadline)
    assert other.policy.fitted == plain.policy.fitted
    assert (other.policy.prediction_sets, other.policy.unknown_rule) == (
        calibrate(source, deadline).policy.prediction_sets,
        calibrate(source, deadline).policy.unknown_rule,
    )


def test_where_nothing_is_fitted_no_temperature_is_used() -> None:
    assert calibrate(scenes(300), order()).policy.fitted == UNFITTED
    assert calibrate(scenes(300), order(per_exit=True)).policy.fitted == UNFITTED


# Budgets and deadlines


@pytest.mark.parametrize("per_exit", [False, True])
@pytest.mark.parametrize("score", ["gate", "max-softmax"])
def test_a_budget_is_kept_in_every_precision_and_spent(score: Score, per_exit: bool) -> None:
    source, asked = both(1500), order(budget=5.0, score=score, per_exit=per_exit)
    made = calibrate(source, asked)
    costs = []
    for arrays in source.precisions.values():
        scores = by_score(arrays.take(made.parts.test), score, made.policy.fitted)
        costs.append(PRICE[first_exit(scores.gates, made.policy.thresholds)].mean())
    assert max(costs) <= 5.0
    assert max(costs) > (4.5 if per_exit else 4.95)
    assert made.point(made.precision).mean_cost == pytest.approx(max(costs))
    assert made.guarantee is None
    assert (len(set(made.policy.thresholds)) == 1) or per_exit


@pytest.mark.parametrize("per_exit", [False, True])
def test_a_budget_out_of_reach_is_told_with_what_is_in_reach(per_exit: bool) -> None:
    with pytest.raises(
        CalibrationError, match=r"latency: a mean of 1\.9 ms is not reachable: .* 2 ms, the first exit 2"
    ):
        calibrate(scenes(200), order(budget=1.9, per_exit=per_exit))


@pytest.mark.parametrize("asked", [{}, {"budget": 4.0}, {"target": HARM}], ids=["alone", "budget", "risk"])
@pytest.mark.parametrize(("score", "per_exit"), [("gate", False), ("gate", True), ("entropy", False)])
@pytest.mark.parametrize(("deadline", "last"), [(3.0, 0), (6.0, 1), (9.0, 2), (12.0, 3)])
def test_no_image_comes_after_the_deadline(
    asked: dict[str, Any], per_exit: bool, score: Score, deadline: float, last: int
) -> None:
    source = both(500)
    # Exits as good as the full network: nothing is refused for what the deadline costs.
    for arrays in source.precisions.values():
        arrays.logits[:, :3] = arrays.logits[:, 3:]
    made = calibrate(source, order(deadline=deadline, per_exit=per_exit, score=score, **asked))
    for arrays in source.precisions.values():
        exits = first_exit(made.policy.scores(arrays).gates, made.policy.thresholds)
        assert exits.max() <= last
        if not asked:
            assert exits.min() == last  # as late as it allows
    if asked.get("budget"):
        assert made.point(made.precision).mean_cost <= 4.0
    if asked.get("target"):
        assert made.point(made.precision).mean_cost == 2.0  # nothing is lost anywhere


def test_a_deadline_needs_percentiles_and_must_be_in_reach() -> None:
    with pytest.raises(
        CalibrationError,
        match=r"deadline of 2\.9 ms is not reachable: .* first exit, which every image passes, is 3 ms",
    ):
        calibrate(scenes(200), order(deadline=2.9))
    with pytest.raises(CalibrationError, match="a deadline needs the 99th percentile of each exit's MACs"):
        calibrate(scenes(200), order(deadline=5.0, costs=COUNTED))


def test_a_risk_that_the_deadline_itself_brings_is_not_put_upon_the_full_network() -> None:
    with pytest.raises(CalibrationError, match=r"--p99-ms, exit 1 is the last one"):
        calibrate(scenes(2000), order(target=HARM, deadline=3.0))
    with pytest.raises(CalibrationError) as caught:
        calibrate(scenes(20), order(target=HARM))
    assert "--p99-ms" not in str(caught.value)


def test_a_risk_and_a_budget_that_exclude_each_other_are_refused() -> None:
    made = calibrate(scenes(1000), order(target=HARM))
    assert calibrate(
        scenes(1000), order(target=HARM, budget=made.point(made.precision).mean_cost + 0.01)
    ).policy.thresholds
    with pytest.raises(CalibrationError) as caught:
        calibrate(scenes(1000), order(target=HARM, budget=made.point(made.precision).mean_cost - 0.01))
    said = str(caught.value)
    assert said.startswith(
        f"harmful exits at most 4% with 90% confidence costs {made.point(made.precision).mean_cost:.4g} ms on average,"
    )


# Promises


@pytest.mark.parametrize("method", ["betting", "exact", "hoeffding-bentkus", "conformal", "naive"])
@pytest.mark.parametrize("score", ["gate", "patience"])
def test_one_threshold_for_all_is_what_control_finds_on_all_images(method: Method, score: Score) -> None:
    target, source = RiskTarget("harmful-exits", 0.04, 0.9, method), both(700)
    made = calibrate(source, order(target=target, score=score))
    scores = {name: by_score(each, score) for name, each in source.precisions.items()}
    assert made.guarantee == control(scores, TIMED.means, target)
    assert made.policy.thresholds == made.guarantee.thresholds
    assert (made.policy.name, made.policy.score) == ("calibrated", score)


def test_a_fitted_signal_is_tested_on_images_that_it_was_not_fitted_to() -> None:
    source, asked = both(900), order(target=HARM, score="margin", **LATER)
    made, parts = calibrate(source, asked), divide(900, asked)
    fitted = fit(source.precisions["fp32"].take(parts.fit), "margin")
    scores = {name: by_score(each, "margin", fitted).take(parts.test) for name, each in source.precisions.items()}
    assert made.guarantee == control(scores, TIMED.means, HARM)
    assert made.guarantee.images == len(parts.test) == 360


def test_a_promise_holds_for_both_precisions_at_once() -> None:
    source = both(1500)
    fp32, int8 = source.precisions.values()
    alone, together = calibrate(outputs(fp32), order(target=HARM)), calibrate(source, order(target=HARM))
    worse = calibrate(outputs(int8), order(target=HARM))
    assert together.policy.thresholds == worse.policy.thresholds  # the worse one decides
    assert together.policy.thresholds[0] > alone.policy.thresholds[0] + 0.02
    assert together.guarantee is not None
    assert alone.guarantee is not None
    assert together.guarantee.risk > operate_risk(fp32, together.policy.thresholds)
    assert together.policy.thresholds == calibrate(outputs(int8, fp32), order(target=HARM)).policy.thresholds
    assert true_risk(make_int8, alone.policy.thresholds) > HARM.limit
    assert true_risk(make_int8, together.policy.thresholds) <= HARM.limit


def operate_risk(arrays: ExitArrays, thresholds: tuple[float, ...]) -> float:
    exits = exits_along(arrays.gates, np.array([thresholds]))
    return float(values_at(risk_of(arrays, "harmful-exits").losses, exits).mean())


def test_it_is_the_dearer_precision_whose_cost_is_expected() -> None:
    arrays = make_scenes().draw(800, 0)
    shyer = ExitArrays(arrays.logits.copy(), arrays.gates * np.float32(0.9), arrays.labels)
    made = calibrate(outputs(arrays, shyer), order(target=HARM))
    assert made.point(made.precision).mean_cost == operate(shyer, TIMED.means, made.policy.thresholds).mean_cost
    assert made.precision == "int8"


@pytest.mark.parametrize("score", ["margin", "gate"])
def test_a_brier_limit_is_tested_on_the_probabilities_that_are_told(score: Score) -> None:
    """`classify` tells them at the temperatures that a score was fitted with."""
    source, target = scenes(1500), RiskTarget("brier", 0.35, 0.9)
    made = calibrate(source, order(target=target, score=score))
    assert made.guarantee is not None
    tested = by_score(source.precisions["fp32"], score, made.policy.fitted).take(made.parts.test)
    exits = first_exit(tested.gates, made.policy.thresholds)
    told = np.array(
        [
            softmax(made.policy.fitted.scaled(index, logits[index]))
            for index, logits in zip(exits, tested.logits, strict=True)
        ]
    )
    truth = np.eye(told.shape[1])[tested.labels]
    assert made.guarantee.risk == pytest.approx(((told - truth) ** 2).sum(axis=1).mean(), rel=1e-5)


def test_a_budget_beside_a_risk_is_met_by_equal_costs() -> None:
    """Seven hundred times 0.7 is more than 490, as computers add."""
    certain = scenes(700)
    arrays = ExitArrays(
        certain.precisions["fp32"].logits, np.ones((700, 3), np.float32), certain.precisions["fp32"].labels
    )
    costs = Costs("latency", "ms", (0.7, 0.8, 0.9, 1.0), None, "made up")
    made = calibrate(outputs(arrays), order(target=RiskTarget("error", 0.9, 0.9, "exact"), costs=costs, budget=0.7))
    assert made.point(made.precision).shares[0] == 1


def broken(asked: Order, images: int, draws: int, *populations: Make) -> tuple[float, float]:
    """Share of the draws in which a risk is above its limit in any precision, and the mean cost."""
    assert asked.target is not None
    above, costs = 0, []
    for seed in range(draws):
        source = outputs(*(make().draw(images, seed) for make in populations))
        try:
            made = calibrate(source, asked)
        except CalibrationError:
            costs.append(TIMED.means[-1])  # the full network
            continue
        risks = [true_risk(make, made.policy.thresholds) for make in populations]
        above += max(risks) > asked.target.limit
        costs.append(made.point(made.precision).mean_cost)
    return above / draws, float(np.mean(costs))


@pytest.mark.parametrize("draws", DRAWS)
def test_in_most_draws_the_promise_is_true_in_both_precisions(draws: int) -> None:
    asked = order(target=RiskTarget("harmful-exits", 0.05, 0.9, "exact"))
    found, cost = broken(asked, 400, draws, make_scenes, make_int8)
    assert found <= beyond(0.1, draws)
    assert cost < 9.0


@pytest.mark.parametrize("draws", DRAWS)
def test_in_most_draws_the_guarantee_of_thresholds_for_each_exit_is_true(draws: int) -> None:
    found, cost = broken(order(target=HARM, per_exit=True), 400, draws, make_scenes)
    assert found <= beyond(0.1, draws)
    assert cost < 8.0


def test_a_precision_that_was_not_tested_is_not_promised() -> None:
    """The test of both can fail: tested in fp32 alone, int8 breaks the guarantee nearly always."""
    above = 0
    for seed in range(30):
        made = calibrate(outputs(make_scenes().draw(600, seed)), order(target=HARM))
        above += true_risk(make_int8, made.policy.thresholds) > HARM.limit
    assert above > 20


def found(made: FoundPolicy) -> tuple[Any, ...]:
    """All that a user gets to see."""
    return (
        made.policy,
        made.point(made.precision).mean_cost,
        made.point(made.precision).exits.tolist(),
        made.precision,
        made.guarantee,
    )


@pytest.mark.parametrize("risk", ["harmful-exits", "error", "disagreement"])
@pytest.mark.parametrize("method", ["exact", "hoeffding-bentkus"])
@pytest.mark.parametrize("score", ["gate", "patience", "max-softmax"])
@pytest.mark.parametrize("images", [600, 637, 811])
def test_thresholds_for_each_exit_never_cost_more_than_one_for_all(
    risk: RiskName, method: Method, score: Score, images: int
) -> None:
    target = RiskTarget(risk, 0.2 if risk == "error" else 0.05, 0.9, method)
    source, asked = both(images, images), order(target=target, score=score, per_exit=True)
    own, common = (calibrate(source, each) for each in (asked, replace(asked, per_exit=False)))
    scores = [by_score(each, score, own.policy.fitted) for each in source.precisions.values()]
    tested = [each.take(own.parts.test) for each in scores]

    def cost(made: FoundPolicy) -> float:
        return max(operate(each, TIMED.means, made.policy.thresholds).mean_cost for each in tested)

    assert cost(own) <= cost(common)
    assert own.guarantee is not None
    assert own.guarantee.target == target  # guaranteed at the level that was asked for
    if len(set(own.policy.thresholds)) == 1:
        assert found(own) == found(common)  # as if no others had been looked for


def lying_first_exit(images: int, seed: int) -> ExitArrays:
    """The first exit's gate knows nothing, the others' do: one threshold for all must heed it."""
    arrays = make_scenes().draw(images, seed)
    gates = arrays.gates.copy()
    gates[:, 0] = np.random.default_rng(seed).random(images)
    return ExitArrays(arrays.logits, gates, arrays.labels)


def test_thresholds_for_each_exit_pay_where_one_gate_lies() -> None:
    source = outputs(lying_first_exit(6000, 0))
    common, own = (calibrate(source, order(target=HARM, per_exit=per_exit)) for per_exit in (False, True))
    assert own.point(own.precision).mean_cost < common.point(common.precision).mean_cost - 0.3
    assert len(set(own.policy.thresholds)) > 1
    parts = own.parts
    fitting, tested = (source.precisions["fp32"].take(rows) for rows in (parts.fit, parts.test))
    path = greedy_path(fitting, risk_of(fitting, "harmful-exits"), TIMED.means)
    left = unused_level(6000, HARM)
    assert 0 < left < 0.2 * HARM.alpha
    assert own.policy.thresholds == control(tested, TIMED.means, replace(HARM, confidence=1 - left), path).thresholds


@pytest.mark.parametrize("score", ["gate", "patience"])
def test_thresholds_for_each_exit_are_granted_wherever_one_for_all_just_is(score: Score) -> None:
    """At a share of the level, or on a part of the images, what one threshold saves would be lost."""
    source, target = outputs(make_scenes().draw(299, 3)), RiskTarget("harmful-exits", 0.01, 0.95, "exact")
    common, own = (
        calibrate(source, order(target=target, score=score, per_exit=per_exit)) for per_exit in (False, True)
    )
    assert found(own) == found(common)


# Refusals


@pytest.mark.parametrize("images", [0, 1, 2])
@pytest.mark.parametrize(
    "asked",
    [order(), order(score="neighbours"), order(per_exit=True, **LATER), order(target=HARM), order(deadline=5.0)],
)
def test_too_few_images_for_any_division_are_refused(images: int, asked: Order) -> None:
    with pytest.raises(CalibrationError, match=rf"^{images} images? cannot be divided: at least 3"):
        calibrate(outputs(make_scenes().draw(5, 0).take(np.arange(images))), asked)


@pytest.mark.parametrize("images", range(3, 9))
def test_the_fewest_images_are_divided_somehow(images: int) -> None:
    for score in SCORES:
        for asked in ({"budget": 5.0}, {"deadline": 6.0}, {"target": RiskTarget("harmful-exits", 0.9, 0.5, "naive")}):
            own = bool(images % 2) and "target" not in asked
            assert calibrate(both(images), order(score=score, per_exit=own, **asked)).policy.thresholds


@pytest.mark.parametrize(("option", "asked", "needed"), [("coverage", 0.9, 9), ("false_alarms", 0.02, 49)])
def test_sets_and_alarms_from_too_few_images_are_refused_with_the_number(
    option: str, asked: float, needed: int
) -> None:
    """What would be stored could never exclude a class, or never call an image unknown."""
    with pytest.raises(CalibrationError) as caught:
        calibrate(both(20), order(**{option: asked}))
    said = str(caught.value)
    assert f"--{option.replace('_', '-')} {100 * asked:g}%" in said
    assert f"{needed} images" in said
    total = int(re.findall(r"about (\d+)", said)[0])
    made = calibrate(both(total), order(**{option: asked})).policy
    rule = made.prediction_sets.quantiles if made.prediction_sets else made.unknown_rule.thresholds  # type: ignore[union-attr]
    assert np.isfinite(rule).all()  # wherever an image exits


@pytest.mark.parametrize(
    ("counts", "later", "pools"),
    [
        ((50, 50, 50, 50), 200, [0, 1, 2, 3]),
        ((50, 0, 50, 100), 200, [0, 1, 1, 2]),
        ((1, 99, 99, 1), 200, [0, 0, 1, 1]),
        ((0, 0, 0, 200), 200, [0, 0, 0, 0]),
        ((200, 0, 0, 0), 200, [0, 0, 0, 0]),
        ((100, 0, 0, 100), 200, [0, 1, 1, 1]),
        ((50, 50, 50, 50), 20, [0, 0, 0, 0]),
        ((50, 50, 50, 50), 60, [0, 0, 1, 1]),
    ],
)
def test_exits_that_few_images_take_are_pooled_with_their_neighbours(
    counts: tuple[int, ...], later: int, pools: list[int]
) -> None:
    tested = np.repeat(np.arange(4), counts)
    everywhere = np.repeat(np.arange(4), 200)
    assert pooled_exits([tested, everywhere], 4, later, 9).tolist() == pools
    assert pooled_exits([everywhere, tested], 4, later, 9).tolist() == pools


def perfect(count: int) -> Outputs:
    """Nothing is lost at any exit."""
    arrays = make_scenes().draw(count, 0)
    return outputs(ExitArrays(np.repeat(arrays.logits[:, -1:], 4, axis=1), arrays.gates, arrays.labels))


@pytest.mark.parametrize(
    ("method", "further"),
    [
        *itertools.product(
            ("exact", "hoeffding-bentkus"),
            ({}, {"score": "margin"}, {"per_exit": True}, LATER, {"score": "margin", "per_exit": True, **LATER}),
        ),
        *itertools.product(("betting", "conformal"), ({}, {"score": "margin"}, LATER)),
    ],
)
def test_as_many_images_as_the_refusal_says_are_enough(method: Method, further: dict[str, Any]) -> None:
    asked = order(target=RiskTarget("harmful-exits", 0.02, 0.9, method), **further)
    with pytest.raises(CalibrationError, match=r"images cannot support harmful exits at most 2%") as caught:
        calibrate(perfect(40), asked)
    said = str(caught.value)
    needed = int(re.findall(r"at least (\d+) are needed", said)[0])
    share = re.findall(r"(\d+) of the 40 images given are tested", said)
    tested = int(share[0]) if share else 40
    assert said.startswith(f"{tested} images cannot support")
    made = calibrate(perfect(math.ceil(needed * 40 / tested) + 2), asked)
    assert made.point("fp32").mean_cost == 2.0
    with pytest.raises(CalibrationError):
        calibrate(perfect(math.floor((needed - 1) * 40 / tested) - 4), asked)


def test_a_network_without_early_exits_has_nothing_to_calibrate() -> None:
    arrays = make_scenes().draw(50, 0)
    plain = ExitArrays(arrays.logits[:, 3:], arrays.gates[:, :0], arrays.labels)
    with pytest.raises(CalibrationError, match="no early exits"):
        calibrate(outputs(plain), order(costs=Costs("latency", "ms", (10.0,), None, "measured")))


@pytest.mark.parametrize(
    ("asked", "where"),
    [(each, "logits") for each in (order(), order(target=HARM), order(score="margin"), order(**LATER))]
    + [(order(target=HARM), "gates")],
)
def test_outputs_that_are_no_numbers_are_refused(asked: Order, where: str) -> None:
    source = scenes(300)
    getattr(source.precisions["fp32"], where)[:] = np.nan
    with pytest.raises(CalibrationError, match=r"are not numbers|are not all numbers"):
        calibrate(source, asked)


# PredictionSets and alarms


def quantiles_by_hand(arrays: ExitArrays, policy: Policy, pools: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of each exit; those of a pool share theirs."""
    exits = first_exit(policy.scores(arrays).gates, policy.thresholds)
    rows = np.arange(len(exits))
    logits = arrays.logits[rows, exits].astype(np.float64)
    warm = np.array(policy.fitted.temperatures or [1.0] * 4)[exits]
    scores = nonconformity(softmax(logits / warm[:, None]), arrays.labels)
    sets = per_exit_quantiles(scores, pools[exits], 4, 0.9)
    return sets[pools], unknown_thresholds(familiarity(logits), pools[exits], 4, 0.1)[pools]


@pytest.mark.parametrize("asked", ORDERS, ids=short)
def test_sets_and_alarms_are_made_from_the_later_part_and_hold_in_both_precisions(asked: Order) -> None:
    source = both(900)
    made = calibrate(source, asked)
    tested = [first_exit(each.gates, made.policy.thresholds) for each in made.tested.values()]
    pools = pooled_exits(tested, 4, len(made.parts.later), 9)  # for both: 90% coverage, 10% false alarms
    by_precision = [
        quantiles_by_hand(each.take(made.parts.later), made.policy, pools) for each in source.precisions.values()
    ]
    widest = np.max([sets for sets, _ in by_precision], axis=0)
    shyest = np.min([alarms for _, alarms in by_precision], axis=0)
    assert made.policy.prediction_sets is not None
    assert made.policy.unknown_rule is not None
    assert made.policy.prediction_sets.quantiles == tuple(widest.tolist())
    assert made.policy.unknown_rule.thresholds == tuple(shyest.tolist())
    assert (made.policy.prediction_sets.coverage, made.policy.unknown_rule.false_alarms) == (0.9, 0.1)
    assert not np.array_equal(by_precision[0][0], by_precision[1][0])


def with_distances(source: Outputs, seed: int = 0) -> Outputs:
    """In each precision other ones."""
    generator = np.random.default_rng(seed)
    made = {
        name: replace(each, distances=generator.gamma(4, 0.25, len(each.labels)).astype(np.float32))
        for name, each in source.precisions.items()
    }
    return replace(source, precisions=made)


def test_familiarity_and_distance_share_the_false_alarms() -> None:
    source = with_distances(both(900))
    made = calibrate(source, order(false_alarms=0.1))
    rule, alone = made.policy.unknown_rule, calibrate(both(900), order(false_alarms=0.05)).policy.unknown_rule
    assert rule is not None
    assert alone is not None
    assert (rule.thresholds, rule.false_alarms, alone.distance) == (alone.thresholds, 0.1, None)
    rank = math.ceil((len(made.parts.later) + 1) * 0.95)
    later = [each.take(made.parts.later).distances for each in source.precisions.values()]
    by_precision = [np.sort(each)[rank - 1] for each in later if each is not None]
    assert len(by_precision) == 2
    assert rule.distance == max(by_precision)
    assert by_precision[0] != by_precision[1]


def test_the_distance_alone_sets_no_images_apart() -> None:
    source = with_distances(both(300))
    asked = order(target=HARM, false_alarms=0.1, unknown_by="distance")
    made, without = calibrate(source, asked), calibrate(source, order(target=HARM))
    assert (len(made.parts.later), made.policy.thresholds) == (0, without.policy.thresholds)
    rank = math.ceil(301 * 0.9)
    furthest = [np.sort(each.distances)[rank - 1] for each in source.precisions.values() if each.distances is not None]
    assert made.policy.unknown_rule == UnknownRule((-math.inf,) * 4, 0.1, max(furthest))


@pytest.mark.parametrize(("source", "message"), [(both(300), "no distances"), (with_distances(both(8)), "9 images")])
def test_a_rule_by_distance_needs_distances_and_images(source: Outputs, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(source, order(false_alarms=0.1, unknown_by="distance"))


def test_alarms_by_either_are_no_more_than_promised() -> None:
    found = []
    for seed in range(40):
        policy = calibrate(with_distances(scenes(400, seed), seed), order(false_alarms=0.1)).policy
        fresh_images = with_distances(scenes(1500, 1000 + seed), 1000 + seed).precisions["fp32"]
        exits = first_exit(policy.scores(fresh_images).gates, policy.thresholds)
        logits = fresh_images.logits[np.arange(len(exits)), exits]
        assert policy.unknown_rule is not None
        found.append(float(policy.unknown_rule.applies(logits, exits, fresh_images.distances).mean()))
    assert np.mean(found) <= 0.1 + 3 * np.std(found) / math.sqrt(len(found))
    assert np.mean(found) > 0.05  # both count


def test_what_is_not_asked_for_is_not_made() -> None:
    made = calibrate(scenes(300), order(coverage=0.9)).policy
    assert made.prediction_sets is not None
    assert made.unknown_rule is None
    made = calibrate(scenes(300), order(false_alarms=0.1)).policy
    assert made.prediction_sets is None
    assert made.unknown_rule is not None
    assert (
        calibrate(scenes(300), order()).policy.prediction_sets,
        calibrate(scenes(300), order()).policy.unknown_rule,
    ) == (
        None,
        None,
    )


def fresh(population: Population, policy: Policy, seed: int) -> tuple[float, float]:
    """Coverage, and share of alarms, over images that no draw before has seen, as the device gives them."""
    arrays = population.draw(1500, 10_000 + seed)
    exits = first_exit(policy.scores(arrays).gates, policy.thresholds)
    rows = np.arange(len(exits))
    logits = arrays.logits[rows, exits].astype(np.float64)
    warm = np.array(policy.fitted.temperatures or [1.0] * 4)[exits]
    assert policy.prediction_sets is not None
    assert policy.unknown_rule is not None
    held = prediction_sets(softmax(logits / warm[:, None]), np.array(policy.prediction_sets.quantiles)[exits])
    alarms = is_unknown(familiarity(logits), np.array(policy.unknown_rule.thresholds)[exits])
    return float(held[rows, arrays.labels].mean()), float(alarms.mean())


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("score", ["gate", "max-softmax"])
def test_sets_and_alarms_hold_on_fresh_images(score: Score, draws: int) -> None:
    asked = order(budget=5.0, score=score, **LATER)
    found = [fresh(make_scenes(), calibrate(scenes(400, seed), asked).policy, seed) for seed in range(draws)]
    coverage, alarms = np.array(found).T
    assert coverage.mean() >= 0.9 - 2.5 * coverage.std() / math.sqrt(draws)
    assert alarms.mean() <= 0.1 + 2.5 * alarms.std() / math.sqrt(draws)
    assert coverage.mean() < 0.94  # not for nothing
    assert alarms.mean() > 0.06


def test_sets_hold_in_the_worse_precision_too() -> None:
    found = []
    for seed in range(100):
        policy = calibrate(both(500, seed), order(budget=4.0, **LATER)).policy
        found.append(fresh(make_int8(), policy, seed))
    coverage, alarms = np.array(found).T
    assert coverage.mean() >= 0.9 - 2.5 * coverage.std() / 10
    assert alarms.mean() <= 0.1 + 2.5 * alarms.std() / 10


# What the policy says


def test_references_are_how_the_tested_images_left_in_each_precision() -> None:
    source, asked = both(800), order(score="max-softmax", **LATER)
    made = calibrate(source, asked)
    assert list(made.policy.references) == ["fp32", "int8"]
    for precision, found in made.policy.references.items():
        arrays = source.precisions[precision].take(made.parts.test)
        exits = first_exit(made.policy.scores(arrays).gates, made.policy.thresholds)
        warm = np.array(made.policy.fitted.temperatures)[exits]
        scaled = arrays.logits[np.arange(len(exits)), exits].astype(np.float64) / warm[:, None]
        assert found == reference_of(observed(exits, softmax(scaled)), 4, 5)
        assert found.images == len(made.parts.test)
    assert made.policy.references["fp32"] != made.policy.references["int8"]


@pytest.mark.parametrize("asked", [order(target=HARM), order(budget=5.0, score="margin")], ids=short)
def test_new_images_that_come_alike_raise_no_alarm_and_others_do(asked: Order) -> None:
    alarms, level = 0, 0.1
    for seed in range(100):
        policy = calibrate(scenes(400, seed), asked).policy
        alarms += compare_with(policy, make_scenes().draw(300, 5000 + seed), level)
    assert alarms / 100 <= beyond(level, 100)
    rows = np.argsort(policy.scores(make_scenes().arrays).gates.mean(axis=1))[: SIZE // 4]  # the hardest quarter
    assert compare_with(policy, make_scenes().arrays.take(rows[:: len(rows) // 300]), 0.01)


def test_images_that_come_alike_raise_no_alarm_in_int8_either() -> None:
    """int8 is a little less sure of everything, which is no drift, though beside fp32's reference it would look so."""
    scenes, alarms, mistaken, draws = make_scenes().arrays, 0, 0, 20
    unsure = Population(replace(scenes, logits=scenes.logits * np.float32(0.95)))
    for seed in range(draws):
        policy = calibrate(outputs(make_scenes().draw(2000, seed), unsure.draw(2000, seed)), order(budget=5.0)).policy
        alarms += compare_with(policy, unsure.draw(2000, 5000 + seed), 0.01, "int8")
        mistaken += compare_with(policy, unsure.draw(2000, 5000 + seed), 0.01, "fp32")
    assert alarms / draws <= beyond(0.01, draws)
    assert mistaken > draws / 3


def compare_with(policy: Policy, arrays: ExitArrays, level: float, precision: str = "fp32") -> bool:
    exits = first_exit(policy.scores(arrays).gates, policy.thresholds)
    scaled = (
        arrays.logits[np.arange(len(exits)), exits] / np.array(policy.fitted.temperatures or [1.0] * 4)[exits][:, None]
    )
    return compare(policy.references[precision], observed(exits, softmax(scaled)), level).shift_detected


def observed(exits: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> Observations:
    return Observations(exits, probabilities.max(axis=1), probabilities.argmax(axis=1))


def guarantee_of(source: Outputs, **asked: Any) -> dict[str, Any]:
    made = calibrate(source, order(**asked))
    described: dict[str, Any] = json.loads(json.dumps(made.policy.to_dict(), allow_nan=False))
    guarantee = dict(described["guarantee"])
    restore_infinities(described)
    assert msgspec.convert(described, Policy) == made.policy
    return guarantee


@pytest.mark.parametrize(
    ("target", "statement", "confidence"),
    [
        (RiskTarget("harmful-exits", 0.04, 0.95), "harmful exits at most 4% with 95% confidence", 0.95),
        (RiskTarget("accuracy-drop", 0.035, 0.9), "accuracy drop at most 3.5 pp with 90% confidence", 0.9),
        (RiskTarget("harmful-exits", 0.04, 0.999, "exact"), "harmful exits at most 4% with 99.9% confidence", 0.999),
        (RiskTarget("harmful-exits", 0.04, method="conformal"), "harmful exits at most 4% in expectation", None),
        (
            RiskTarget("harmful-exits", 0.07, method="naive"),
            "harmful exits at most 7% on the calibration images, without a guarantee",
            None,
        ),
        (RiskTarget("brier", 0.4, 0.9), "Brier score at most 0.4 with 90% confidence", 0.9),
    ],
)
def test_a_guarantee_is_stored_with_its_terms(target: RiskTarget, statement: str, confidence: float | None) -> None:
    stored = guarantee_of(both(2000), target=target)
    assert stored["statement"] == statement
    assert (stored["risk"], stored["risk_limit"], stored["method"]) == (target.risk, target.limit, target.method)
    assert stored["confidence"] == confidence
    assert "fp32" in stored["reference"]
    assert 0 < stored["risk_on_calibration"] <= target.limit
    assert (stored["precisions"], stored["labelled"]) == (["fp32", "int8"], True)
    assert (stored["data_sha256"], stored["engine"], stored["seed"]) == ("d" * 64, "hands 1.0", 0)
    assert stored["images"] == {"tested": 2000, "fitted": 0, "sets_and_unknown": 0}
    assert "budget" not in stored
    assert len(stored["conditions"]) == 4


def test_a_budget_is_told_with_the_costs_that_it_stands_on() -> None:
    said = guarantee_of(scenes(600), budget=5.0, deadline=9.0, score="margin", seed=3, **LATER)
    assert said["budget"] == {
        "quantity": "latency",
        "unit": "ms",
        "mean": 5.0,
        "p99": 9.0,
        "means": list(TIMED.means),
        "worst": list(TIMED.worst or ()),
        "precision": None,
        "source": "measured here",
    }
    assert said["images"] == {"tested": 240, "fitted": 180, "sets_and_unknown": 180}
    assert said["seed"] == 3
    assert not {"statement", "risk", "risk_limit", "confidence"} & set(said)
    assert len(said["conditions"]) == 5


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"target": HARM}, "calibrated: harmful exits at most 4% with 90% confidence; 900 images, data dddddddddddd"),
        ({"budget": 5.0}, "calibrated: mean latency at most 5 ms; 900 images, data dddddddddddd"),
        ({"deadline": 9.5}, "calibrated: p99 latency at most 9.5 ms; 900 images, data dddddddddddd"),
        (
            {"target": HARM, "budget": 9.9, "deadline": 12.0, "score": "margin"},
            "calibrated: harmful exits at most 4% with 90% confidence; mean latency at most 9.9 ms; p99 latency at "
            "most 12 ms; 630 images, data dddddddddddd",
        ),
    ],
    ids=["risk", "budget", "deadline", "all"],
)
def test_the_source_says_how_the_thresholds_came_about(asked: dict[str, Any], said: str) -> None:
    assert calibrate(scenes(900), order(**asked)).policy.source == said


@pytest.mark.parametrize("asked", ORDERS, ids=short)
def test_calibration_is_deterministic_and_fits_the_network(asked: Order) -> None:
    first, again = (calibrate(both(500), asked).policy for _ in range(2))
    assert first == again
    first.require_fit(4, 5)
    assert first != calibrate(both(500), replace(asked, seed=5)).policy


def test_the_wish_decides_by_which_cost_is_cheapest(monkeypatch: pytest.MonkeyPatch) -> None:
    backwards = Costs(
        "latency", "ms", (9.0, 8.0, 7.0, 10.0), None, "measured"
    )  # the first exit is dearest of the early
    made, path = calibrate(perfect(1000), order(target=HARM, costs=backwards)), same_for_all(3)
    assert made.guarantee == control(perfect(1000).precisions["fp32"], backwards.means, HARM, path)
    assert made.point(made.precision).mean_cost < 9.0


def test_by_deadline_is_the_path_that_is_tested() -> None:
    made = calibrate(scenes(3000), order(target=RiskTarget("harmful-exits", 0.2, 0.9, "exact"), deadline=9.0))
    arrays = scenes(3000).precisions["fp32"]
    assert made.guarantee == control(
        arrays, TIMED.means, RiskTarget("harmful-exits", 0.2, 0.9, "exact"), by_deadline(same_for_all(3), 2)
    )
    assert made.policy.thresholds[2] == 0
    assert NEVER not in made.policy.thresholds[2:]


def test_the_expected_figures_are_those_of_the_tested_images() -> None:
    source, asked = scenes(900), order(score="margin", **LATER)
    made: FoundPolicy = calibrate(source, asked)
    arrays = by_score(source.precisions["fp32"].take(made.parts.test), "margin", made.policy.fitted)
    point = operate(arrays, TIMED.means, made.policy.thresholds)
    assert (made.point(made.precision).accuracy, made.point(made.precision).mean_cost) == (
        point.accuracy,
        point.mean_cost,
    )
    assert made.point(made.precision).exits.tolist() == point.exits.tolist()
    assert made.tested["fp32"].correct.tolist() == arrays.correct.tolist()
    assert (made.request, made.costs) == (asked.request, asked.costs)
