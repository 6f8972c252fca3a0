from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gfnet_dynn.bundle.manifest import Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.reliability import rank_scores
from gfnet_dynn.calibration.result import CalibrationResult, make_result
from gfnet_dynn.cli.terminal import print_tables
from gfnet_dynn.exits import NEVER, ExitArrays, softmax
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.guarantees.control import RiskTarget
from gfnet_dynn.reporting.table import Table
from gfnet_dynn.uncertainty.intervals import paired_difference
from gfnet_dynn.uncertainty.reliability import equal_mass_error, fit_temperature
from tests import bundles
from tests.calibration.populations import COUNTED, TIMED, Order, calibrate, make_int8, make_scenes, order, outputs

MACS = (2_000_000, 4_000_000, 7_000_000, 10_000_000)
RISK = RiskTarget("harmful-exits", 0.05, 0.9, "exact")
NEVER_EARLY = replace(bundles.POLICIES[2], thresholds=(NEVER,) * 3)


def manifest(*policies: Policy, names: tuple[str, ...] = ("exit 1", "exit 2", "exit 3", "final")) -> Manifest:
    content = {f"fp32/segment{index}.onnx": bytes([index]) for index in range(4)}
    exits = tuple(Exit(name, index, count) for index, (name, count) in enumerate(zip(names, MACS, strict=True)))
    return bundles.manifest(content, classes=tuple("abcde"), exits=exits, policies=(*policies, NEVER_EARLY))


def both(count: int) -> Outputs:
    return outputs(make_scenes().draw(count, 0), make_int8().draw(count, 0))


def made(source: Outputs, asked: Order, *policies: Policy) -> CalibrationResult:
    return make_result(calibrate(source, asked), source, manifest(*policies))


def printed(result: CalibrationResult, width: int = 200) -> str:
    out = io.StringIO()
    print_tables(result, Console(file=out, width=width))
    return out.getvalue()


def table(result: CalibrationResult, title: str) -> Table:
    return next(each for each in result.tables() if each.title.startswith(title))


def test_reliability_is_measured_on_images_that_no_temperature_was_fitted_to() -> None:
    source = both(1000)
    arrays = source.precisions["fp32"]
    report = made(source, order(seed=3))
    half = np.random.default_rng(3).permutation(1000)
    fitting, judged = arrays.take(np.sort(half[:500])), arrays.take(np.sort(half[500:]))
    assert [each.name for each in report.reliability] == ["exit 1", "exit 2", "exit 3", "final"]
    for index, each in enumerate(report.reliability):
        temperature = fit_temperature(fitting.logits[:, index], fitting.labels)
        plain, right = softmax(judged.logits[:, index]), judged.correct[:, index]
        assert each.temperature == temperature
        assert (each.accuracy.value, each.accuracy.n) == (right.mean(), 500)
        assert each.accuracy.low < right.mean() < each.accuracy.high
        assert each.error == equal_mass_error(plain.max(axis=1), right)
        assert each.brier == pytest.approx(((plain - np.eye(plain.shape[1])[judged.labels]) ** 2).sum(axis=1).mean())
        scaled = softmax(judged.logits[:, index].astype(np.float64) / temperature)
        assert each.error_scaled == pytest.approx(equal_mass_error(scaled.max(axis=1), right), abs=1e-5)
        assert sum(each.count for each in each.bins) == 500
        assert len(each.bins) == 10


def test_a_temperature_mends_what_is_overconfident() -> None:
    """Labels drawn from the softmax of logits that are then made four times as large."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, (2000, 5))
    labels = (softmax(honest).cumsum(axis=1) < generator.random((2000, 1))).sum(axis=1)
    logits = 4 * honest[:, None].repeat(4, axis=1)
    gates = generator.random((2000, 3)).astype(np.float32)
    for each in made(outputs(ExitArrays(logits.astype(np.float32), gates, labels)), order()).reliability:
        assert each.temperature == pytest.approx(4, rel=0.1)
        assert each.error_scaled < each.error / 3


def test_the_figures_of_each_precision_are_its_own() -> None:
    source = both(600)
    report = made(source, order(budget=5.0))
    assert list(report.expected) == ["fp32", "int8"]
    for name, each in report.expected.items():
        point = report.found.point(name)
        tested = source.precisions[name].take(report.found.parts.test)
        assert each.accuracy.value == point.accuracy
        assert (each.accuracy.n, each.full_accuracy.n) == (600, 600)
        assert each.full_accuracy.value == tested.correct[:, -1].mean()
        assert each.exit_shares == point.shares
        assert each.mean_cost == point.mean_cost
        assert each.mean_mmacs == pytest.approx(
            sum(share * count / 1e6 for share, count in zip(point.shares, MACS, strict=True))
        )
    assert report.expected["fp32"].accuracy != report.expected["int8"].accuracy


def test_measured_costs_belong_to_one_precision() -> None:
    """Budget, milliseconds and accuracy on one line are of the precision that was measured."""
    source, costs = both(800), Costs("latency", "ms", TIMED.means, TIMED.worst, "measured in fp32", "fp32")
    report = made(source, order(budget=5.0, costs=costs))
    assert report.found.precision == "fp32"
    assert 4.95 < report.found.point("fp32").mean_cost <= 5.0
    assert report.expected["int8"].mean_cost is None
    rows = {row[0]: row for row in table(report, "Policy").rows}
    assert rows["fp32"][-1] == f"{report.found.point('fp32').mean_cost:.4g}"
    assert rows["fp32"][1] == str(report.expected["fp32"].accuracy)
    assert rows["int8"][-1] == "–"
    assert report.found.policy.guarantee["budget"]["precision"] == "fp32"


def test_the_precisions_are_compared_image_by_image() -> None:
    source = both(700)
    report = made(source, order(budget=5.0, score="margin"))
    fp32, int8 = (source.precisions[name].correct[:, -1] for name in ("fp32", "int8"))
    assert report.expected["int8"].against_fp32 == paired_difference(fp32, int8)
    by_policy = report.expected["int8"].policy_against_fp32
    assert by_policy is not None
    assert (by_policy.n, report.found.parts.fit.size) == (490, 210)
    assert by_policy.difference == pytest.approx(
        report.expected["int8"].accuracy.value - report.expected["fp32"].accuracy.value
    )
    assert report.expected["fp32"].against_fp32 is None
    assert [row[-1] for row in table(report, "Against fp32").rows] == ["700", "490"]


def test_scores_are_ranked_at_the_policys_cost() -> None:
    source, asked = both(600), order(budget=5.0, seed=2)
    report = made(source, asked)
    spent = report.found.point("fp32").mean_cost
    assert list(report.ranking) == rank_scores(source.precisions["fp32"], TIMED.means, spent, 2)


def test_where_nothing_exits_early_there_is_nothing_to_rank_and_it_is_no_default() -> None:
    report = made(both(300), order(budget=50.0))
    assert report.found.point("fp32").mean_cost == 10
    assert report.ranking == ()
    assert report.not_default
    assert "10 ms" in report.not_default


def test_a_policy_that_is_worse_than_the_default_in_both_is_no_default() -> None:
    """Its score knows nothing, that of the default does."""
    arrays = make_scenes().draw(1500, 0)
    blind = replace(arrays, gates=np.random.default_rng(0).random(arrays.gates.shape).astype(np.float32))
    default = Policy("sure", "max-softmax", (0.8,) * 3, "made up")
    source, asked = outputs(blind), order(budget=4.5)
    worse = made(source, asked, default)
    assert worse.not_default
    assert "sure" in worse.not_default
    assert made(source, order(budget=2.5), default).not_default is None  # less accurate, but cheaper
    assert made(source, asked).not_default is None  # better than the full network in cost


def test_a_policy_is_not_compared_with_the_one_that_it_replaces() -> None:
    default = Policy("calibrated", "max-softmax", (0.8,) * 3, "made up")
    arrays = make_scenes().draw(1500, 0)
    blind = replace(arrays, gates=np.random.default_rng(0).random(arrays.gates.shape).astype(np.float32))
    assert made(outputs(blind), order(budget=4.5), default).not_default is None


def test_without_labels_agreement_takes_the_place_of_accuracy() -> None:
    arrays = make_scenes().draw(800, 0)
    agreed = replace(arrays, labels=arrays.predictions[:, -1].astype(np.int64))
    source = replace(outputs(agreed), labelled=False)
    target = RiskTarget("disagreement", 0.05, 0.9, "exact")
    report = made(source, order(target=target, score="max-softmax", false_alarms=0.1))
    assert (report.reliability, report.ranking) == ((), ())
    assert report.found.policy.guarantee["labelled"] is False
    assert len(report.found.parts.fit) == 0
    assert not report.found.policy.fitted.temperatures
    assert report.expected["fp32"].full_accuracy.value == 1
    assert report.expected["fp32"].accuracy.value == pytest.approx(1 - report.found.guarantee.risk)  # type: ignore[union-attr]
    assert "agreement" in printed(report)
    assert "accuracy" not in table(report, "Policy").headings[1]


ORDERS = [
    order(),
    order(budget=50.0),
    order(costs=COUNTED, target=RISK),
    order(deadline=9.0),
    order(target=RISK, score="neighbours", per_exit=True, coverage=0.9, false_alarms=0.1),
    order(target=RiskTarget("harmful-exits", 0.1, method="conformal"), budget=9.0),
]


@pytest.mark.parametrize("asked", ORDERS, ids=range(len(ORDERS)))
def test_the_report_is_json_with_every_figure(asked: Order) -> None:
    report = made(both(600), asked)
    said: dict[str, Any] = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert said["policy"] == json.loads(json.dumps(report.found.policy.to_dict()))
    assert said["images"] == len(report.found.parts.test)
    assert (said["default"], said["precision"]) == (report.not_default is None, report.found.precision)
    assert (said["costs"]["unit"], said["full_mmacs"]) == (asked.costs.unit, 10.0)
    assert said["costs"]["means"] == list(asked.costs.means)
    for name, each in report.expected.items():
        assert said["expected"][name]["accuracy"]["value"] == each.accuracy.value
        assert said["expected"][name]["mean_cost"] == each.mean_cost
    assert [each["name"] for each in said["reliability"]] == ["exit 1", "exit 2", "exit 3", "final"]
    assert len(said["scores_at_equal_cost"]) == len(report.ranking)
    assert ("guarantee_tested" in said) == (asked.target is not None)
    if asked.target is not None:
        assert said["guarantee_tested"]["target"]["limit"] == asked.target.limit
        assert said["guarantee_tested"]["risk"] <= asked.target.limit


def test_thresholds_that_nothing_reaches_are_null_in_json() -> None:
    arrays = make_scenes().draw(400, 0)
    hopeless = np.roll(arrays.logits, 1, axis=2)
    hopeless[:, -1] = arrays.logits[:, -1]  # early exits are always wrong where the last one is right
    report = made(outputs(ExitArrays(hopeless, np.ones_like(arrays.gates), arrays.labels)), order(target=RISK))
    said = report.to_dict()
    assert said["policy"]["thresholds"] == [None] * 3
    json.dumps(said, allow_nan=False)
    assert "gate at never" in printed(report)


def test_what_is_printed_has_the_guarantee_and_every_figure_with_its_n() -> None:
    report = made(both(900), order(target=RISK))
    text = printed(report)
    assert "harmful exits at most 5% with 90% confidence" in text
    for each in report.expected.values():
        assert str(each.accuracy) in text
        assert f"{each.mean_mmacs:.4g}" in text
    assert "n = 900" in text  # tested
    assert "n = 450" in text  # reliability
    for name in (*(each.name for each in report.reliability), *(each.score for each in report.ranking)):
        assert name in text


def test_without_a_risk_no_accuracy_is_guaranteed() -> None:
    assert "guarantee: none on accuracy" in printed(made(both(300), order()))


@pytest.mark.parametrize("asked", ORDERS, ids=range(len(ORDERS)))
def test_all_is_whole_in_80_columns(asked: Order) -> None:
    text = printed(made(both(600), asked), 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_names_of_exits_are_texts_whatever_brackets_they_have() -> None:
    source, names = both(300), ("[red]exit 1", "[/]", "[bold]", "final")
    text = printed(make_result(calibrate(source, order()), source, manifest(names=names)))
    assert all(name in text for name in names)
