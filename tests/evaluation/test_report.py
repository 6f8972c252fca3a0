from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gfnet_dynn.evaluation.report import DEFINITIONS, evaluation_to_dict
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.sweep import THRESHOLDS
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
    described = evaluation_to_dict(evaluation(chosen=chosen, timed=timed))
    assert strictly_through_json(described) == described
    assert (described["chosen_on_selection"] is not None) is chosen
    assert (described["latency"] is not None) is timed


def test_every_number_is_defined_and_every_definition_used() -> None:
    described = evaluation_to_dict(evaluation())
    used = set(named_numbers(described))
    assert used == set(DEFINITIONS)
    assert described["definitions"] == DEFINITIONS
    assert all(len(text) > 10 for text in DEFINITIONS.values())


def test_what_cannot_be_said_is_null() -> None:
    described = evaluation_to_dict(evaluation(timed=False))
    first, full = described["sweep"][0], described["full_network"]
    assert first["threshold"] == [0.0] * 4
    assert first["accuracy_of_those_leaving"][1:] == [None] * 4
    assert first["latency_ms"] is None
    assert full["threshold"] == [None] * 4
    assert full["accuracy_of_those_leaving"][:4] == [None] * 4


def test_the_numbers_are_those_of_the_evaluation() -> None:
    judged = evaluation(4)
    described = strictly_through_json(evaluation_to_dict(judged))
    arrays = outputs(4)
    assert described["data"] == {"data_set": "Scenes", "part": "val", "images": 48}
    assert (described["network"]["model"], described["input_px"]) == ("gfnet-192x12", 256)
    assert described["network"]["parameters"] == 1234
    assert described["network"]["exit_macs"] == list(MACS)
    for index, accuracy in enumerate(described["network"]["exit_accuracy_over_all_images"]):
        assert accuracy == pytest.approx((arrays.logits[:, index].argmax(1) == arrays.labels).mean())
    assert described["latency"]["exit_ms"] == pytest.approx([11, 12, 13, 14, 15])
    assert described["latency"]["device"] == "a processor"
    assert len(described["sweep"]) == len(THRESHOLDS)
    assert described["sweep"][-1]["accuracy"] == described["full_network"]["accuracy"]
    assert described["full_network"]["mean_macs"] == MACS[-1]


def test_classes_and_confusion_agree() -> None:
    full = evaluation_to_dict(evaluation(4))["full_network"]
    counts = full["confusion"]["counts"]
    for index, (name, scores) in enumerate(full["classes"].items()):
        assert name == f"class_{index:02}"
        assert scores["images"] == sum(counts[index]) == 12
        assert scores["recall"] == pytest.approx(counts[index][index] / 12)
    assert full["macro_f1"] == pytest.approx(sum(scores["f1"] for scores in full["classes"].values()) / 4)


def test_thresholds_per_exit_are_reported_each() -> None:
    judged = evaluation()
    assert judged.chosen is not None
    point = replace(judged.chosen.point, thresholds=(0.5, NEVER, 0.25, 1.0))
    described = evaluation_to_dict(replace(judged, chosen=replace(judged.chosen, point=point)))
    assert described["chosen_on_selection"]["threshold"] == [0.5, None, 0.25, 1.0]
