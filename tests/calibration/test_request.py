from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.calibration.request import CalibrationRequest, MonitorRequest
from gfnet_dynn.errors import OptionError
from gfnet_dynn.guarantees.control import Method, RiskTarget
from gfnet_dynn.guarantees.risk import RiskName

TIMED = {"benchmark": Path("bench.json")}


def request(**options: Any) -> CalibrationRequest:
    return CalibrationRequest(bundle=Path("tiny.gfd"), images=Path("scenes"), **options)


def refusal(**options: Any) -> str:
    with pytest.raises(OptionError) as caught:
        request(**options)
    return str(caught.value)


@pytest.mark.parametrize("options", [{"risk": "error"}, {"max_mmacs": 4.0}, {"p99_ms": 5.0, **TIMED}])
def test_one_thing_to_keep_is_enough(options: dict[str, Any]) -> None:
    assert request(**options).name == "calibrated"


@pytest.mark.parametrize("further", [{}, {"coverage": 0.9}, {"false_alarms": 0.01}, {"per_exit": True}])
def test_nothing_to_keep_is_refused_with_what_to_give(further: dict[str, Any]) -> None:
    assert "--risk" in refusal(**further)
    assert "--max-mmacs" in refusal(**further)


def test_the_target_has_its_defaults() -> None:
    assert request(risk="harmful-exits").target == RiskTarget("harmful-exits", 0.01, 0.95, "exact")
    assert request(risk="accuracy-drop").target == RiskTarget("accuracy-drop", 0.01, 0.95, "betting")
    given = request(risk="brier", risk_limit=0.1, confidence=0.9, method="naive")
    assert given.target == RiskTarget("brier", 0.1, 0.9, "naive")
    assert request(max_mmacs=3).target is None


@pytest.mark.parametrize("name", ["risk_limit", "confidence"])
def test_what_belongs_to_a_risk_is_refused_without_one(name: str) -> None:
    said = refusal(**{name: 0.9}, method="exact", max_mmacs=1.0)
    assert f"--{name.replace('_', '-')}" in said
    assert "--method" in said
    assert "--risk" in said


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"risk_limit": 0.0}, ("--risk-limit", "0%")),
        ({"risk_limit": 1.0}, ("--risk-limit", "100%")),
        ({"confidence": 0.49}, ("--confidence", "49%", "50%")),
        ({"confidence": 1.0}, ("--confidence", "100%")),
        ({"coverage": 1.0}, ("--coverage", "100%")),
        ({"coverage": 0.0}, ("--coverage", "0%")),
        ({"false_alarms": math.nan}, ("--false-alarms", "nan")),
        ({"false_alarms": 0.0}, ("--false-alarms", "0%")),
        ({"seed": -1}, ("--seed", "-1")),
        ({"threads": 0}, ("--threads", "0")),
        ({"plot": Path("plot.jpg")}, ("--plot", "plot.jpg", ".svg")),
    ],
)
def test_values_out_of_range_are_refused_by_name(options: dict[str, Any], facts: tuple[str, ...]) -> None:
    said = refusal(risk="error", **options)
    assert all(fact in said for fact in facts)


@pytest.mark.parametrize("name", ["", "  ", "\n", "full", "own"])
def test_a_policy_needs_a_name_of_its_own(name: str) -> None:
    assert "--name" in refusal(max_mmacs=1.0, name=name)


@pytest.mark.parametrize("name", ["two\nlines", "bell\a", "\x1b[31mred", "half \ud800 a character", "a\0b", "\x85"])
def test_a_name_that_no_bundle_could_be_read_with_is_refused(name: str) -> None:
    assert "--name" in refusal(max_mmacs=1.0, name=name)


@pytest.mark.parametrize("name", ["strict", "1 point", "Fluß", "森", "a/b", "full 2"])
def test_any_other_name_will_do(name: str) -> None:
    assert request(max_mmacs=1.0, name=name).name == name


@pytest.mark.parametrize("option", ["max_ms", "p99_ms", "max_mj", "max_mmacs"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_is_a_positive_number(option: str, value: float) -> None:
    said = refusal(**{option: value}, **TIMED)
    assert f"--{option.replace('_', '-')}" in said
    assert f"{value:g}" in said


@pytest.mark.parametrize("option", ["max_ms", "p99_ms", "max_mj"])
def test_what_is_measured_needs_a_benchmark(option: str) -> None:
    assert "--benchmark" in refusal(**{option: 8.0})


@pytest.mark.parametrize(
    "options", [{"max_ms": 3.0, "max_mj": 4.0}, {"max_mmacs": 1.0, "p99_ms": 8.0}, {"max_mj": 1.0, "p99_ms": 8.0}]
)
def test_one_kind_of_budget_at_a_time(options: dict[str, float]) -> None:
    said = refusal(**options, **TIMED)
    named = {f"--{name.replace('_', '-')}" for name in options}
    assert named == {word.strip(",") for word in said.split() if word.startswith("--")}
    assert request(max_ms=3.0, p99_ms=8.0, **TIMED).budget == 3.0


def test_the_cost_is_that_of_the_budget() -> None:
    assert (request(max_mmacs=3.0, **TIMED).quantity, request(max_mmacs=3.0).budget) == ("macs", 3.0)
    assert (request(risk="error").quantity, request(risk="error").budget) == ("macs", None)
    assert request(risk="error", **TIMED).quantity == "latency"
    assert request(p99_ms=3.0, **TIMED).quantity == "latency"
    assert (request(max_mj=3.0, **TIMED).quantity, request(max_mj=3.0, **TIMED).budget) == ("energy", 3.0)


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
    said = refusal(risk=risk, method=method, per_exit=True)
    assert all(fact in said for fact in ("--per-exit", method, risk, "exact"))
    assert request(risk=risk, method=method).target


@pytest.mark.parametrize("risk", ["harmful-exits", "error", "disagreement"])
@pytest.mark.parametrize("method", ["exact", "hoeffding-bentkus"])
def test_one_that_counts_images_has_a_threshold_for_each_exit(risk: RiskName, method: Method) -> None:
    assert request(risk=risk, method=method, per_exit=True).per_exit


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"risk": "disagreement"}, False),
        ({"max_mmacs": 1.0}, False),
        ({"max_mmacs": 1.0, "false_alarms": 0.1, "score": "margin"}, False),
        ({"risk": "harmful-exits"}, True),
        ({"risk": "brier"}, True),
        ({"risk": "disagreement", "coverage": 0.9}, True),
        ({"max_mmacs": 1.0, "score": "neighbours"}, True),
    ],
)
def test_labels_are_needed_for_what_compares_with_them(options: dict[str, Any], needed: bool) -> None:
    assert request(**options).needs_labels == needed


@pytest.mark.parametrize("options", [{"seed": -1}, {"threads": 0}])
def test_monitoring_needs_usable_numbers_too(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(options))}"):
        MonitorRequest(bundle=Path("tiny.gfd"), images=(Path("same"),), **options)
