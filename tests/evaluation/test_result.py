"""An evaluation as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gfnet_dynn.evaluation.result import DEFINITIONS
from gfnet_dynn.exits import THRESHOLDS
from gfnet_dynn.uncertainty.intervals import Proportion
from tests.evaluation.evaluations import MACS, evaluation, outputs


def named_numbers(value: Any, name: str = "") -> Iterator[str]:
    """The key under which each number of a nested value stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from named_numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from named_numbers(inner, name)
    elif isinstance(value, (int, float)) or value is None:
        yield name


def strictly_through_json(value: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return read


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("timed", [True, False])
def test_the_report_is_strict_json(chosen: bool, timed: bool) -> None:
    described = evaluation(chosen=chosen, timed=timed).to_dict()
    assert strictly_through_json(described) == described
    assert list(described["policies"]) == ["gates", "max-softmax", "full"] if chosen else ["full"]
    assert (described["latency"] is not None) is timed


def test_every_number_is_defined_and_every_definition_used() -> None:
    described = evaluation(20).to_dict()
    assert described["mistakes"]
    assert described["definitions"] == DEFINITIONS
    assert set(named_numbers(described)) == set(DEFINITIONS)


def test_what_does_not_exist_is_null() -> None:
    described = evaluation(timed=False).to_dict()
    first, full = described["sweeps"]["gate"][0], described["policies"]["full"]
    assert first["thresholds"] == [0.0] * 4
    assert first["exit_accuracy"][1:] == [None] * 4
    assert first["latency_ms"] is None
    assert full["thresholds"] == [None] * 4
    assert full["exit_accuracy"][:4] == [None] * 4


def test_the_numbers_are_those_of_the_evaluation() -> None:
    described, arrays = strictly_through_json(evaluation(4).to_dict()), outputs(4)
    network, full = described["network"], described["policies"]["full"]
    assert described["data"] == {"data_set": "Scenes", "part": "val", "images": 48}
    assert (network["model"], network["input_px"], network["parameters"]) == ("gfnet-192x12", 256, 1234)
    assert [each["macs"] for each in network["exits"]] == list(MACS)
    for index, each in enumerate(network["exits"]):
        right = arrays.logits[:, index].argmax(1) == arrays.labels
        assert each["accuracy"] == pytest.approx(right.mean())
        assert each["accuracy_interval"] == [Proportion.of(right).low, Proportion.of(right).high]
    assert [each["latency_ms"] for each in network["exits"]] == pytest.approx([11, 12, 13, 14, 15])
    assert described["latency"]["device"] == "a processor"
    assert len(described["sweeps"]["gate"]) == len(THRESHOLDS)
    assert described["sweeps"]["gate"][-1]["accuracy"] == full["accuracy"]
    assert (full["mean_macs"], full["difference"]) == (MACS[-1], 0)


def test_classes_and_confusion_agree() -> None:
    full = evaluation(4).to_dict()["policies"]["full"]
    for index, (name, scores) in enumerate(full["classes"].items()):
        assert name == f"class_{index:02}"
        assert scores["images"] == sum(full["confusion"][index]) == 12
        assert scores["accuracy"] == pytest.approx(full["confusion"][index][index] / 12)
    assert full["macro_f1"] == pytest.approx(sum(scores["f1"] for scores in full["classes"].values()) / 4)


def test_the_tables_have_the_figures_with_their_intervals() -> None:
    result = evaluation(4)
    policies, sweep, exits, classes = result.tables()
    assert "n = 48" in policies.title
    assert [row[0] for row in policies.rows] == ["gates", "max-softmax", "full"]
    assert all(row[1] == str(result.policies[row[0]].accuracy) for row in policies.rows)
    assert [row[0] for row in sweep.rows][-1] == "never"
    assert [row[0] for row in exits.rows] == list(result.subject.exits)
    for index, (name, n, accuracy, confused) in enumerate(classes.rows):
        counts = result.default.confusion[index].copy()
        assert (name, n) == (result.subject.classes[index], str(counts.sum()))
        assert accuracy.startswith(f"{100 * counts[index] / counts.sum():.1f}%")
        counts[index] = 0
        assert confused == (f"{result.subject.classes[counts.argmax()]} ({counts.max()})" if counts.any() else "–")


def test_untimed_evaluations_have_no_column_of_milliseconds() -> None:
    assert "ms" in evaluation().tables()[0].headings
    assert "ms" not in evaluation(timed=False).tables()[0].headings
