from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gfnet_dynn.bundle.manifest import Exit, Manifest
from gfnet_dynn.calibration.outputs import Outputs
from gfnet_dynn.calibration.ranking import rank_scores
from gfnet_dynn.calibration.report import CalibrationReport, make_report, report_to_dict, sources
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.search import calibrate
from gfnet_dynn.cli.render.calibration import print_calibration
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.guarantees.control import RiskTarget
from gfnet_dynn.uncertainty.reliability import brier, equal_mass_error, fit_temperature
from tests import bundles
from tests.calibration.populations import COUNTED, TIMED, make_int8, make_scenes, order, outputs

MACS = (2_000_000, 4_000_000, 7_000_000, 10_000_000)
RISK = RiskTarget("harmful-exits", 0.05, 0.9, "exact")


def manifest(names: tuple[str, ...] = ("exit 1", "exit 2", "exit 3", "final")) -> Manifest:
    content = {f"fp32/segment{index}.onnx": bytes([index]) for index in range(4)}
    ways = tuple(Exit(name, index, count) for index, (name, count) in enumerate(zip(names, MACS, strict=True)))
    never = replace(bundles.POLICIES[2], thresholds=(math.inf,) * 3)
    return bundles.manifest(content, classes=tuple("abcde"), exits=ways, policies=(never,))


def both(count: int) -> Outputs:
    return outputs(make_scenes().draw(count, 0), make_int8().draw(count, 0))


def made(source: Outputs, asked: CalibrationRequest) -> CalibrationReport:
    return make_report(calibrate(source, asked), source, manifest())


def printed(report: CalibrationReport, width: int = 200) -> str:
    out = io.StringIO()
    print_calibration(report, Console(file=out, width=width))
    return out.getvalue()


def test_reliability_is_measured_on_images_that_no_temperature_was_fitted_to() -> None:
    source = both(1000)
    arrays = source.precisions["fp32"]
    report = made(source, order(seed=3))
    half = np.random.default_rng(3).permutation(1000)
    fitting, judged = arrays.take(np.sort(half[:500])), arrays.take(np.sort(half[500:]))
    assert [each.name for each in report.exits] == ["exit 1", "exit 2", "exit 3", "final"]
    for index, each in enumerate(report.exits):
        temperature = fit_temperature(fitting.logits[:, index], fitting.labels)
        plain, right = softmax(judged.logits[:, index]), judged.correct[:, index]
        assert each.temperature == temperature
        assert each.accuracy == right.mean()
        assert each.error == equal_mass_error(plain.max(axis=1), right)
        assert each.brier == pytest.approx(brier(plain, judged.labels))
        scaled = softmax(judged.logits[:, index].astype(np.float64) / temperature)
        assert each.error_scaled == pytest.approx(equal_mass_error(scaled.max(axis=1), right), abs=1e-5)
        assert sum(each.count for each in each.bins) == 500
        assert len(each.bins) == 10
    assert report.precision == "fp32"


def test_a_temperature_mends_what_is_overconfident() -> None:
    """Labels drawn from the softmax of logits that are then made four times as large."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, (2000, 5))
    labels = (softmax(honest).cumsum(axis=1) < generator.random((2000, 1))).sum(axis=1)
    logits = 4 * honest[:, None].repeat(4, axis=1)
    gates = generator.random((2000, 3)).astype(np.float32)
    for each in made(outputs(ExitArrays(logits.astype(np.float32), gates, labels)), order()).exits:
        assert each.temperature == pytest.approx(4, rel=0.1)
        assert each.error_scaled < each.error / 3


def test_the_mean_macs_are_those_of_the_exits_taken() -> None:
    report = made(both(600), order(budget=5.0))
    shares = report.calibrated.point.shares
    assert report.mean_mmacs == pytest.approx(
        sum(share * count / 1e6 for share, count in zip(shares, MACS, strict=True))
    )
    assert report.macs == (2, 4, 7, 10)


def test_signals_are_ranked_at_the_policys_cost() -> None:
    source, asked = both(600), order(budget=5.0, seed=2)
    report = made(source, asked)
    spent = report.calibrated.point.mean_cost
    assert list(report.ranking) == rank_scores(source.precisions["fp32"], TIMED.means, spent, 2)


def test_where_nothing_leaves_early_there_is_nothing_to_rank() -> None:
    report = made(both(300), order(budget=50.0))
    assert report.calibrated.point.mean_cost == 10
    assert report.ranking == ()
    assert "Scores, each at" not in printed(report)


def test_the_sources_say_how_many_images_served_what() -> None:
    plain = sources(made(both(500), order()))
    assert plain[0] == "Expected: measured on the 500 images that thresholds were tested on."
    assert plain[1] == "latency: measured here. MACs: counted from shapes."
    divided = sources(made(both(500), order(score="margin", coverage=0.9)))
    assert divided[0] == (
        "Expected: measured on the 200 images that thresholds were tested on; 150 others served to fit score or path; "
        "150 others to make sets and alarms."
    )


ORDERS = [
    order(),
    order(budget=50.0),
    order(costs=COUNTED, target=RISK),
    order(deadline=9.0),
    order(target=RISK, score="neighbours", per_exit=True, coverage=0.99, false_alarms=0.001),
    order(target=RiskTarget("harmful-exits", 0.1, method="conformal"), budget=9.0),
]


@pytest.mark.parametrize("asked", ORDERS, ids=range(len(ORDERS)))
def test_the_report_is_json_with_every_figure(asked: CalibrationRequest) -> None:
    report = made(both(600), asked)
    said: dict[str, Any] = json.loads(json.dumps(report_to_dict(report), allow_nan=False))
    point = report.calibrated.point
    assert said["policy"] == json.loads(json.dumps(report.calibrated.policy.to_dict()))
    assert said["expected"] == {
        "images": len(report.calibrated.parts.test),
        "accuracy": point.accuracy,
        "full_accuracy": report.calibrated.full_accuracy,
        "exit_shares": list(point.shares),
        "mean_cost": point.mean_cost,
        "cost_unit": asked.costs.unit,
        "mean_mmacs": report.mean_mmacs,
        "full_mmacs": 10.0,
    }
    assert said["costs"]["means"] == list(asked.costs.means)
    assert [each["name"] for each in said["reliability"]] == ["exit 1", "exit 2", "exit 3", "final"]
    assert len(said["signals_at_equal_cost"]) == len(report.ranking)
    assert said["sources"] == sources(report)
    assert ("promise_tested" in said) == (asked.target is not None)
    if asked.target is not None:
        assert said["promise_tested"]["target"]["limit"] == asked.target.limit
        assert said["promise_tested"]["risk"] <= asked.target.limit


def test_thresholds_that_nothing_reaches_are_null_in_json() -> None:
    arrays = make_scenes().draw(400, 0)
    hopeless = np.roll(arrays.logits, 1, axis=2)
    hopeless[:, -1] = arrays.logits[:, -1]  # early exits are always wrong where the last one is right
    report = made(outputs(ExitArrays(hopeless, np.ones_like(arrays.gates), arrays.labels)), order(target=RISK))
    said = report_to_dict(report)
    assert said["promise_tested"]["thresholds"] == said["policy"]["thresholds"] == [None] * 3
    json.dumps(said, allow_nan=False)
    assert "leave by gate at never at every exit" in printed(report)


def test_what_is_printed_says_what_is_promised_and_expected() -> None:
    report = made(both(900), order(target=RISK))
    point, text = report.calibrated.point, printed(report)
    assert "policy calibrated: leave by gate at " in text
    assert "guarantee: harm at most 5 points with 90 % certainty" in text
    assert f"expected in {report.calibrated.precision}: {100 * point.accuracy:.1f} % right" in text
    assert f"(full network {100 * report.calibrated.full_accuracy:.1f} %)" in text
    assert f"{report.mean_mmacs:.1f} MMACs ({10 * report.mean_mmacs:.0f} % of the full network's)" in text
    assert f", {point.mean_cost:.3g} ms a frame" in text
    assert f"Scores, each at {point.mean_cost:.4g} ms on average" in text
    for each in report.exits:
        assert each.name in text
    for score in report.ranking:
        assert score.score in text
    assert all(line.split(":")[0] in text for line in sources(report))


def test_without_a_risk_nothing_is_promised_of_accuracy() -> None:
    assert "guarantee: none of accuracy; the budget is met on average" in printed(made(both(300), order()))


def test_counted_costs_are_no_frames() -> None:
    assert "a frame" not in printed(made(both(300), order(costs=COUNTED)))


@pytest.mark.parametrize("asked", ORDERS, ids=range(len(ORDERS)))
def test_all_is_whole_in_80_columns(asked: CalibrationRequest) -> None:
    assert "…" not in printed(made(both(600), asked), 80)


def test_names_of_exits_are_texts_whatever_brackets_they_have() -> None:
    source = both(300)
    names = ("[red]exit 1", "[/]", "[bold]", "final")
    report = make_report(calibrate(source, order()), source, manifest(names))
    text = printed(report)
    assert all(name in text for name in names)
