from __future__ import annotations

import re

import numpy as np
import pytest

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.exits import NEVER, ExitArrays
from gfnet_dynn.guarantees.control import COUNTING, GUARANTEED, Method, RiskTarget, control, p_values, unused_level
from gfnet_dynn.guarantees.paths import same_for_all
from gfnet_dynn.guarantees.risk import Risk, RiskName
from tests.exits.populations import make_population

COSTS = (0.2, 0.4, 0.7, 1.0)
GRID = (NEVER, *np.linspace(1, 0, 60).tolist())
PATH = same_for_all(3, GRID)
DRAWS = [150, pytest.param(400, marks=pytest.mark.slow)]


def violations(target: RiskTarget, images: int, draws: int) -> tuple[float, float]:
    """Share of the draws whose true risk is above the limit, and mean cost; a refusal keeps the full network."""
    population, broken, costs = make_population(), 0, []
    truth = dict(zip(GRID, population.true_risks(target.risk, np.array(GRID)), strict=True))
    for seed in range(draws):
        try:
            guarantee = control(population.draw(images, seed), COSTS, target, PATH)
        except CalibrationError:
            costs.append(1.0)
            continue
        broken += truth[guarantee.thresholds[0]] > target.limit
        costs.append(guarantee.mean_cost)
    return broken / draws, float(np.mean(costs))


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("delta", [0.05, 0.1])
@pytest.mark.parametrize(
    ("method", "risk"), [(m, "harmful-exits") for m in GUARANTEED] + [("betting", "accuracy-drop")]
)
def test_the_guarantee_is_kept(method: Method, risk: RiskName, delta: float, draws: int) -> None:
    broken, cost = violations(RiskTarget(risk, 0.02, 1 - delta, method), 600, draws)
    assert broken <= delta + 2 * np.sqrt(delta * (1 - delta) / draws)
    assert cost < 0.95  # something is saved


def test_picking_naively_breaks_it() -> None:
    broken, _ = violations(RiskTarget("harmful-exits", 0.02, 0.95, "naive"), 600, 150)
    assert broken > 0.25


def test_conformal_control_keeps_the_mean() -> None:
    population, target = make_population(), RiskTarget("harmful-exits", 0.02, method="conformal")
    truth = dict(zip(GRID, population.true_risks("harmful-exits", np.array(GRID)), strict=True))
    draws = range(300)
    risks = [truth[control(population.draw(300, seed), COSTS, target, PATH).thresholds[0]] for seed in draws]
    assert np.mean(risks) <= target.limit + 2 * np.std(risks) / np.sqrt(len(draws))
    assert np.mean(risks) > 0.5 * target.limit


@pytest.mark.parametrize("method", [*GUARANTEED, "conformal"])
def test_more_images_buy_cheaper_thresholds(method: Method) -> None:
    target, population = RiskTarget("harmful-exits", 0.03, 0.95, method), make_population()
    few, many = (control(population.draw(count, 0), COSTS, target) for count in (400, 20_000))
    assert many.mean_cost < few.mean_cost


def test_a_looser_limit_is_never_dearer() -> None:
    draw = make_population().draw(2000, 1)
    costs = [control(draw, COSTS, RiskTarget("accuracy-drop", limit)).mean_cost for limit in (0.005, 0.01, 0.02, 0.05)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


@pytest.mark.parametrize("method", [*GUARANTEED, "conformal"])
def test_too_few_images_are_told_how_many_would_do(method: Method) -> None:
    target, population = RiskTarget("harmful-exits", 0.01, 0.95, method), make_population()
    with pytest.raises(CalibrationError, match=r"20 images cannot support harmful exits at most 1%") as caught:
        control(population.draw(20, 0), COSTS, target)
    needed = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    perfect = population.draw(5000, 0)
    same = np.repeat(perfect.logits[:, -1:], 4, axis=1)  # exits that say what the full network says
    lossless = ExitArrays(same, perfect.gates, perfect.labels)

    def first(count: int) -> ExitArrays:
        return ExitArrays(lossless.logits[:count], lossless.gates[:count], lossless.labels[:count])

    assert control(first(needed), COSTS, target).thresholds == (0, 0, 0)
    with pytest.raises(CalibrationError):
        control(first(needed - 1), COSTS, target)


def test_the_exact_test_needs_as_many_images_as_a_coin() -> None:
    target = RiskTarget("harmful-exits", 0.01, 0.95, "exact")
    with pytest.raises(CalibrationError, match="at least 299 are needed"):
        control(make_population().draw(50, 0), COSTS, target)


def test_a_network_that_errs_too_often_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CalibrationError, match=r"error at most 1% .* these 1000 images the full network has \d"):
        control(make_population().draw(1000, 0), COSTS, RiskTarget("error", 0.01))


def test_an_error_rate_close_to_the_networks_own_asks_for_more_images() -> None:
    draw = make_population().draw(500, 0)
    own = float((~draw.correct[:, -1]).mean())
    with pytest.raises(CalibrationError, match="500 images cannot support error at most"):
        control(draw, COSTS, RiskTarget("error", own + 0.002))


@pytest.mark.parametrize(
    ("target", "facts"),
    [
        ({"risk": "accuracy-drop", "limit": 0.0}, ("--risk-limit", "0%")),
        ({"risk": "accuracy-drop", "limit": 1.0}, ("--risk-limit", "100%")),
        ({"risk": "accuracy-drop", "limit": float("nan")}, ("--risk-limit", "nan")),
        ({"risk": "accuracy-drop", "limit": 0.1, "confidence": 1.0}, ("--confidence", "100%")),
        ({"risk": "accuracy-drop", "limit": 0.1, "confidence": 0.4}, ("--confidence", "40%", "50%")),
        ({"risk": "accuracy-drop", "limit": 0.1, "confidence": float("nan")}, ("--confidence", "nan")),
        ({"risk": "accuracy-drop", "limit": 0.1, "method": "exact"}, ("--method exact", "harmful-exits")),
        ({"risk": "accuracy-drop", "limit": 0.1, "method": "conformal"}, ("--method conformal", "harmful-exits")),
        ({"risk": "brier", "limit": 0.1, "method": "exact"}, ("--method exact", "betting")),
    ],
)
def test_targets_that_make_no_sense_are_refused(target: dict[str, object], facts: tuple[str, ...]) -> None:
    with pytest.raises(OptionError) as caught:
        RiskTarget(**target)  # type: ignore[arg-type] # by name
    assert all(fact in str(caught.value) for fact in facts)


@pytest.mark.parametrize("risk", ["accuracy-drop", "harmful-exits", "disagreement"])
def test_every_precision_is_compared_with_the_first_ones_full_network(risk: RiskName) -> None:
    """A precision whose own exits lose nothing, but whose full network is worse than that of fp32 by a twentieth."""
    fp32 = make_population().draw(4000, 0)
    logits = np.repeat(fp32.logits[:, -1:], 4, axis=1)
    worse = np.flatnonzero(fp32.correct[:, -1])[:200]
    logits[worse] = np.roll(logits[worse], 1, axis=2)
    int8 = ExitArrays(logits, fp32.gates, fp32.labels)
    assert control(int8, COSTS, RiskTarget(risk, 0.04)).thresholds == (0, 0, 0)
    both = {"fp32": fp32, "int8": int8}
    with pytest.raises(CalibrationError, match=r"these 4000 images the full network in int8 has 5\.00%") as caught:
        control(both, COSTS, RiskTarget(risk, 0.04))
    assert caught.value.precision == "int8"
    assert control(both, COSTS, RiskTarget(risk, 0.2)).risk >= 0.05


def test_what_is_no_number_is_refused() -> None:
    draw = make_population().draw(100, 0)
    draw.logits[3, 1, 0] = np.nan
    with pytest.raises(CalibrationError, match="not numbers"):
        control(draw, COSTS, RiskTarget("harmful-exits", 0.1))


@pytest.mark.parametrize("method", COUNTING)
@pytest.mark.parametrize("images", [1, 58, 59, 60, 299, 300, 660, 1000])
@pytest.mark.parametrize("delta", [0.05, 0.1])
def test_what_is_left_of_a_level_changes_no_verdict(method: Method, images: int, delta: float) -> None:
    """By trying every number of losses: the largest p-value that is granted is the level less what is left."""
    target = RiskTarget("harmful-exits", 0.05, 1 - delta, method)
    every = (np.arange(images)[:, None] < np.arange(images + 1)).astype(np.float64)
    granted = [p for p in p_values(every, Risk(every, 0, 1), target) if p <= target.alpha]
    left = unused_level(images, target)
    assert left == target.alpha - max(granted, default=0.0)
    assert 0 <= left <= target.alpha
