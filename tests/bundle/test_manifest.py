from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.bundle.manifest import FORMAT, FULL, LEARNED_FROM, VERSION, Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError
from gfnet_dynn.exits import NEVER, ExitArrays
from gfnet_dynn.spec.network import InputSpec
from tests import bundles

DESCRIBED: dict[str, Any] = json.loads(json.dumps(bundles.manifest().to_dict()))
ABSENT = object()

WITH_ALL: dict[str, Any] = json.loads(
    json.dumps(
        bundles.manifest(
            {**bundles.files(), LEARNED_FROM: bytes(32)}, policies=(bundles.CALIBRATED, *bundles.POLICIES)
        ).to_dict()
    )
)
"""Of a bundle that was calibrated and says what it learned from."""


def changed(place: str, value: object, source: dict[str, Any] = DESCRIBED) -> dict[str, Any]:
    """The tiny bundle's manifest with another value at a place such as `exits 0 macs`, or without it."""
    described = copy.deepcopy(source)
    *outer, name = [int(part) if part.isdecimal() else part for part in place.split()]
    inner: Any = described
    for part in outer:
        inner = inner[part]
    if value is ABSENT:
        del inner[name]
    else:
        inner[name] = value
    return described


def read(described: object) -> Manifest:
    return Manifest.from_json(json.dumps(described).encode())


def test_what_is_written_is_read_back() -> None:
    described = bundles.manifest(provenance={"τ": [0.5, None], "deep": {"a": {"b": [1, "x"]}}})
    assert read(described.to_dict()) == described


def test_a_threshold_that_no_gate_reaches_is_null_in_json() -> None:
    described = bundles.manifest().to_dict()
    assert [each["thresholds"] for each in described["policies"]] == [[0.7, 0.6], [0.8, 0.7], [None, None]]
    assert read(DESCRIBED).policy(FULL).thresholds == (NEVER, NEVER)


def test_the_input_is_read_with_its_padding_and_scale() -> None:
    spec = InputSpec(24, 3, (0.1, 0.2, 0.3), (1, 2, 3))
    assert read(bundles.manifest(input=spec).to_dict()).input == spec


def test_fields_that_this_version_does_not_know_are_passed_over() -> None:
    assert read({**DESCRIBED, "later": 1}) == bundles.manifest()


def test_costs_are_shares_of_the_full_network() -> None:
    described = bundles.manifest()
    assert described.num_exits == 3
    assert described.costs == (0.25, 0.625, 1.0)


def test_the_first_policy_is_used_unless_another_is_named() -> None:
    described = bundles.manifest()
    assert described.policy().name == "gates"
    assert described.policy("plain").score == "max-softmax"
    with pytest.raises(BundleError, match="no exit policy 'fast'; it has gates, plain, full"):
        described.policy("fast")


def test_a_policy_looks_at_its_own_signal() -> None:
    logits = np.zeros((2, 3, 2), np.float32)
    logits[1, 0, 1] = math.log(3)
    gates = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    arrays = ExitArrays(logits, gates, np.zeros(2, np.int64))
    by_gate, plain, _ = bundles.POLICIES
    np.testing.assert_array_equal(by_gate.scores(arrays).gates, gates)
    np.testing.assert_allclose(plain.scores(arrays).gates, [[0.5, 0.5], [0.75, 0.5]])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("format", "zip of holiday pictures", f"not a {FORMAT}: its manifest has the format 'zip of holiday pictures'"),
        ("format", 7, "at `$.format"),
        ("format", ABSENT, "missing required field `format`"),
        ("version", VERSION + 1, f"version {VERSION + 1} and this program reads version {VERSION}: update gfnet-dynn"),
        ("version", VERSION - 1, f"version {VERSION - 1} and this program reads version {VERSION}: export it again"),
        ("version", True, "at `$.version"),
        ("version", "1", "at `$.version"),
        ("version", 1.0, "at `$.version"),
        ("model", None, "at `$.model"),
        ("model", "half \ud800 a character", "not JSON"),
        ("classes", "abc", "at `$.classes"),
        ("classes 0", 3, "at `$.classes"),
        ("classes 0", "\udfff", "not JSON"),
        ("classes 0", "\u202egnp", "at `$.classes[0]"),
        ("classes", [], "has 0 classes"),
        ("classes", ["field"], "has 1 classes"),
        ("classes", [str(number) for number in range(100_001)], "has 100001 classes"),
        ("classes 1", "field", "names a class twice"),
        ("input", [], "at `$.input"),
        ("input", ABSENT, "missing required field `input`"),
        ("input size", 8.0, "at `$.input.size"),
        ("input size", 0, "an input of 0 px"),
        ("input size", 4097, "an input of 4097 px"),
        ("input pad", 8, "8 px with 8 px of padding"),
        ("input pad", -1, "-1 px of padding"),
        ("input mean", [0, 0], "at `$.input.mean`"),
        ("input std", [1, 1, 1, 1], "at `$.input.std`"),
        ("input mean 0", None, "at `$.input.mean"),
        ("input mean 0", math.nan, "not JSON"),
        ("input mean 0", math.inf, "not JSON"),
        ("input mean 0", 10**400, "at `$.input.mean"),
        ("input std 2", 0, "standard deviations of the input must be positive"),
        ("exits", {}, "at `$.exits"),
        ("exits 1", "exit 2", "at `$.exits[1]"),
        ("exits 1 name", 2, "at `$.exits[1].name"),
        ("exits 1 macs", "250", "at `$.exits[1].macs"),
        ("exits 1 block", ABSENT, "missing required field `block`"),
        ("exits", [], "has no exit"),
        ("exits 1 macs", 100, "exits whose MACs do not ascend"),
        ("exits 0 macs", -1, "at `$.exits[0].macs`"),
        ("exits 2 macs", 10**400, "at `$.exits[2].macs`"),
        ("exits 2 block", 0, "exits whose blocks do not ascend"),
        ("policies", None, "at `$.policies"),
        ("policies", [], "has the policies []"),
        ("policies 2 name", "gates", "has the policies ['gates', 'plain', 'gates']"),
        ("policies 2 name", "complete", "has the policies ['gates', 'plain', 'complete']"),
        ("policies 0 score", "telepathy", "'telepathy' - at `$.policies[0].score`"),
        ("policies 0 source", 1, "at `$.policies[0].source"),
        ("policies 0 thresholds", 0.5, "at `$.policies[0].thresholds"),
        ("policies 0 thresholds", [0.5], "its policy gates has 1 thresholds for a network with 2 early exits"),
        ("policies 0 thresholds 1", "0.5", "at `$.policies[0].thresholds"),
        ("policies 0 thresholds 1", True, "at `$.policies[0].thresholds"),
        ("policies 0 thresholds 1", math.nan, "not JSON"),
        ("policies 0 thresholds 1", 10**400, "at `$.policies[0].thresholds"),
        ("policies 0 thresholds 1", -0.1, "from 0 to 1"),
        ("policies 2 thresholds 1", 1.0, "lets images exit early by the policy full"),
        ("precisions", [], "at `$.precisions"),
        ("precisions fp32", ABSENT, "has no segments in fp32"),
        ("precisions fp32 2", ABSENT, "has 2 segments in fp32 for 3 exits"),
        ("precisions int8", [], "has 0 segments in int8 for 3 exits"),
        ("precisions int8 2", "int8/segment1.onnx", "disagrees with itself on its files: ['int8/segment2.onnx']"),
        ("precisions int8 2", None, "at `$.precisions[...]"),
        ("files", None, "at `$.files"),
        ("files fp32/segment0.onnx", ABSENT, "disagrees with itself on its files: ['fp32/segment0.onnx']"),
        ("files more", {"bytes": 1, "sha256": ""}, "disagrees with itself on its files: ['more']"),
        ("files fp32/segment0.onnx", 5, "at `$.files[...]`"),
        ("files fp32/segment0.onnx bytes", "1", "at `$.files[...].bytes`"),
        ("files fp32/segment0.onnx sha256", None, "at `$.files[...].sha256`"),
        ("report", [], "at `$.report"),
        ("provenance", "UCM", "at `$.provenance"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)
def test_what_no_export_writes_is_refused_by_name(place: str, value: object, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        read(changed(place, value))
    assert message in str(caught.value)


COUNTS = "the reference needs"
REFERENCE = "at `$.policies[0].references[...]"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("policies 0 fitted temperatures", 1.0, "at `$.policies[0].fitted.temperatures"),
        ("policies 0 fitted temperatures", None, "at `$.policies[0].fitted.temperatures"),
        ("policies 0 fitted temperatures 1", None, "at `$.policies[0].fitted.temperatures"),
        ("policies 0 fitted temperatures 1", "2", "at `$.policies[0].fitted.temperatures"),
        ("policies 0 fitted temperatures 1", math.nan, "not JSON"),
        ("policies 0 fitted temperatures 1", math.inf, "not JSON"),
        ("policies 0 fitted temperatures 1", True, "at `$.policies[0].fitted.temperatures"),
        ("policies 0 fitted temperatures 1", 0, "temperatures are positive"),
        ("policies 0 fitted temperatures 1", -2.0, "temperatures are positive"),
        (
            "policies 0 fitted temperatures 1",
            ABSENT,
            "its policy calibrated has 2 temperatures for a network with 2 early",
        ),
        ("policies 0 fitted tables", {}, "at `$.policies[0].fitted.tables"),
        ("policies 0 fitted tables", ABSENT, "its policy calibrated has 0 tables for a network with 2 early exits"),
        ("policies 0 fitted tables 1", ABSENT, "its policy calibrated has 1 tables for a network with 2 early exits"),
        ("policies 0 fitted tables 0", [], "at `$.policies[0].fitted.tables[0]"),
        ("policies 0 fitted tables 0 edges", ABSENT, "missing required field `edges`"),
        ("policies 0 fitted tables 0 edges 0", None, "at `$.policies[0].fitted.tables[0].edges"),
        ("policies 0 fitted tables 0 edges 0", 0.6, "bins that are not in order"),
        ("policies 0 fitted tables 0 edges 0", ABSENT, "bins that are not in order"),
        ("policies 0 fitted tables 0 accuracies", ABSENT, "missing required field `accuracies`"),
        ("policies 0 fitted tables 0 accuracies 2", ABSENT, "bins that are not in order"),
        ("policies 0 fitted tables 0 accuracies 2", "high", "at `$.policies[0].fitted.tables[0].accuracies"),
        ("policies 0 guarantee", None, "at `$.policies[0].guarantee"),
        ("policies 0 guarantee", "95 %", "at `$.policies[0].guarantee"),
        ("policies 0 references", None, "at `$.policies[0].references"),
        ("policies 0 references", [], "at `$.policies[0].references"),
        ("policies 0 references fp32", None, "at `$.policies[0].references[...]"),
        ("policies 0 references fp32", [[0] * 20], "at `$.policies[0].references[...]"),
        ("policies 0 references fp32 histogram", ABSENT, REFERENCE),
        ("policies 0 references fp32 histogram", 3, REFERENCE),
        ("policies 0 references fp32 histogram", [], COUNTS),
        ("policies 0 references fp32 histogram", [3], REFERENCE),
        ("policies 0 references fp32 histogram", "abc", REFERENCE),
        ("policies 0 references fp32 histogram 0", [1] * 19, COUNTS),
        ("policies 0 references fp32 histogram 1 3", -1, COUNTS),
        ("policies 0 references fp32 histogram 1 3", 1.5, REFERENCE),
        ("policies 0 references fp32 histogram 1 3", True, REFERENCE),
        ("policies 0 references fp32 histogram 1 3", None, REFERENCE),
        ("policies 0 references fp32 histogram 1 3", [1], REFERENCE),
        ("policies 0 references fp32 histogram 1 3", 10**400, COUNTS),
        ("policies 0 references fp32 histogram", [[0] * 20] * 3, COUNTS),
        (
            "policies 0 references fp32 histogram 2",
            ABSENT,
            "its policy calibrated has 2 references.fp32 for a network with 2 early",
        ),
        ("policies 0 unknown_rule", 0.05, "at `$.policies[0].unknown_rule"),
        ("policies 0 unknown_rule thresholds", ABSENT, "missing required field `thresholds`"),
        ("policies 0 unknown_rule thresholds 0", "-1", "at `$.policies[0].unknown_rule.thresholds"),
        ("policies 0 unknown_rule thresholds 0", math.nan, "not JSON"),
        (
            "policies 0 unknown_rule thresholds 0",
            ABSENT,
            "its policy calibrated has 2 unknown_rule for a network with 2 early",
        ),
        ("policies 0 unknown_rule false_alarms", None, "at `$.policies[0].unknown_rule.false_alarms"),
        (
            "policies 0 unknown_rule false_alarms",
            1.0,
            "at `$.policies[0].unknown_rule.false_alarms",
        ),
        ("policies 0 prediction_sets", [], "at `$.policies[0].prediction_sets"),
        ("policies 0 prediction_sets quantiles", 0.9, "at `$.policies[0].prediction_sets.quantiles"),
        ("policies 0 prediction_sets quantiles 0", False, "at `$.policies[0].prediction_sets.quantiles"),
        ("policies 0 prediction_sets quantiles 0", math.inf, "not JSON"),
        (
            "policies 0 prediction_sets quantiles 0",
            ABSENT,
            "its policy calibrated has 2 prediction_sets for a network with 2 early exits",
        ),
        ("policies 0 prediction_sets coverage", ABSENT, "missing required field `coverage`"),
        ("policies 0 prediction_sets coverage", "90 %", "at `$.policies[0].prediction_sets.coverage"),
        ("policies 0 prediction_sets coverage", 0, "at `$.policies[0].prediction_sets.coverage"),
        ("policies 1 name", "calibrated", "has the policies ['calibrated', 'calibrated', 'plain', 'full']"),
        ("learned_from", 3, "at `$.learned_from"),
        ("learned_from", ["learned_from.fingerprints"], "at `$.learned_from"),
        ("learned_from", "\x1b[2J", "at `$.learned_from"),
        ("learned_from", ABSENT, "disagrees with itself on its files: ['learned_from.fingerprints']"),
        ("learned_from", "other", "disagrees with itself on its files: ['learned_from.fingerprints', 'other']"),
        ("learned_from", "", "disagrees with itself on its files: ['learned_from.fingerprints']"),
        (
            "files learned_from.fingerprints",
            ABSENT,
            "disagrees with itself on its files: ['learned_from.fingerprints']",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)
def test_what_no_calibration_writes_is_refused_by_name(place: str, value: object, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        read(changed(place, value, WITH_ALL))
    assert message in str(caught.value)


def test_a_calibrated_manifest_with_digests_is_read_back() -> None:
    found = read(WITH_ALL)
    assert found.policy() == bundles.CALIBRATED
    assert found.learned_from == LEARNED_FROM
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == WITH_ALL


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "9" * 6000])
@pytest.mark.parametrize("place", ['"macs": 400', '"size": 8', '"thresholds": [0.7'])
def test_numbers_that_no_reader_holds_are_refused(place: str, number: str) -> None:
    described = json.dumps(DESCRIBED)
    assert place in described
    with pytest.raises(BundleError):
        Manifest.from_json(described.replace(place, place.rstrip("0123456789.") + number).encode())


@pytest.mark.parametrize("value", [None, [], "manifest", 3])
def test_a_manifest_is_an_object(value: object) -> None:
    with pytest.raises(BundleError, match="Expected `object`"):
        read(value)


def test_a_network_without_gates_has_one_way_out_and_only_the_full_policy() -> None:
    graph = bundles.segment(2)
    described = bundles.manifest(
        {"fp32/segment0.onnx": graph},
        exits=(Exit("final", 0, 5),),
        policies=(Policy(FULL, "gate", (), "no image leaves early"),),
    )
    assert described.costs == (1.0,)
    with pytest.raises(BundleError, match="costs nothing"):
        replace(described, exits=(Exit("final", 0, 0),))
