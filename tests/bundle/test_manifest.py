from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.bundle.learned_from import NAME, pack
from gfnet_dynn.bundle.manifest import FORMAT, FULL, VERSION, Exit, Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import BundleError
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.spec.network import InputSpec
from tests import bundles

DESCRIBED: dict[str, Any] = json.loads(json.dumps(bundles.manifest().to_dict()))
ABSENT = object()

WITH_ALL: dict[str, Any] = json.loads(
    json.dumps(
        bundles.manifest(
            {**bundles.files(), NAME: pack([b"12345678"])}, policies=(bundles.CALIBRATED, *bundles.POLICIES)
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


def test_what_is_written_is_read_back() -> None:
    described = bundles.manifest(provenance={"τ": [0.5, None], "deep": {"a": {"b": [1, "x"]}}})
    assert Manifest.from_dict(json.loads(json.dumps(described.to_dict(), allow_nan=False))) == described


def test_a_threshold_that_no_gate_reaches_is_null_in_json() -> None:
    described = bundles.manifest().to_dict()
    assert [each["thresholds"] for each in described["policies"]] == [[0.7, 0.6], [0.8, 0.7], [None, None]]
    assert Manifest.from_dict(DESCRIBED).policy(FULL).thresholds == (NEVER, NEVER)


def test_the_input_is_read_with_its_padding_and_scale() -> None:
    spec = InputSpec(24, 3, (0.1, 0.2, 0.3), (1, 2, 3))
    described = json.loads(json.dumps(bundles.manifest(input=spec).to_dict()))
    assert Manifest.from_dict(described).input == spec


def test_fields_that_this_version_does_not_know_are_passed_over() -> None:
    assert Manifest.from_dict({**DESCRIBED, "later": 1}) == bundles.manifest()


def test_costs_are_shares_of_the_full_network() -> None:
    described = bundles.manifest()
    assert described.num_exits == 3
    assert described.costs == (0.25, 0.625, 1.0)


def test_the_first_policy_is_used_unless_another_is_named() -> None:
    described = bundles.manifest()
    assert described.policy().name == "gates"
    assert described.policy("plain").score == "max_softmax"
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
        ("format", "zip of holiday pictures", f"not a {FORMAT}: its manifest says 'zip of holiday pictures'"),
        ("format", 7, "manifest.format is not a text"),
        ("format", ABSENT, "manifest has no 'format'"),
        ("version", VERSION + 1, f"version {VERSION + 1} and this program reads version {VERSION}: update gfnet-dynn"),
        ("version", VERSION - 1, f"version {VERSION - 1} and this program reads version {VERSION}: export it anew"),
        ("version", True, "manifest.version is not a whole number"),
        ("version", "1", "manifest.version is not a whole number"),
        ("version", 1.0, "manifest.version is not a whole number"),
        ("model", None, "manifest.model is not a text"),
        ("model", "half \ud800 a character", "manifest.model is not a text"),
        ("classes", "abc", "manifest.classes is not a list"),
        ("classes 0", 3, "manifest.classes is not texts"),
        ("classes 0", "\udfff", "manifest.classes is not texts"),
        ("classes", [], "has 0 classes"),
        ("classes", ["field"], "has 1 classes"),
        ("classes", [str(number) for number in range(100_001)], "has 100001 classes"),
        ("classes 1", "field", "names a class twice"),
        ("input", [], "manifest.input is not an object"),
        ("input", ABSENT, "manifest has no 'input'"),
        ("input size", 8.0, "manifest.input.size is not a whole number"),
        ("input size", 0, "an input of 0 px"),
        ("input size", 4097, "takes images of 4097 px"),
        ("input pad", 8, "8 px with 8 px of padding"),
        ("input pad", -1, "-1 px of padding"),
        ("input mean", [0, 0], "mean and std need three numbers"),
        ("input std", [1, 1, 1, 1], "mean and std need three numbers"),
        ("input mean 0", None, "manifest.input.mean is not numbers"),
        ("input mean 0", math.nan, "manifest.input.mean is not numbers"),
        ("input mean 0", math.inf, "manifest.input.mean is not numbers"),
        ("input mean 0", 10**400, "manifest.input.mean is not numbers"),
        ("input std 2", 0, "standard deviations of the input must be positive"),
        ("exits", {}, "manifest.exits is not a list"),
        ("exits 1", "exit 2", "manifest.exits[1] is not an object"),
        ("exits 1 name", 2, "manifest.exits[1].name is not a text"),
        ("exits 1 macs", "250", "manifest.exits[1].macs is not a whole number"),
        ("exits 1 block", ABSENT, "manifest.exits[1] has no 'block'"),
        ("exits", [], "has no exit"),
        ("exits 1 macs", 100, "exits whose MACs do not ascend"),
        ("exits 0 macs", -1, "exits whose MACs do not ascend"),
        ("exits 2 block", 0, "exits whose blocks do not ascend"),
        ("policies", None, "manifest.policies is not a list"),
        ("policies", [], "has the policies []"),
        ("policies 2 name", "gates", "has the policies ['gates', 'plain', 'gates']"),
        ("policies 2 name", "complete", "has the policies ['gates', 'plain', 'complete']"),
        ("policies 0 score", "telepathy", "unknown score 'telepathy': update gfnet-dynn"),
        ("policies 0 source", 1, "manifest.policies[0].source is not a text"),
        ("policies 0 thresholds", 0.5, "manifest.policies[0].thresholds is not a list"),
        ("policies 0 thresholds", [0.5], "its policy gates has 1 thresholds for a network with 2 early exits"),
        ("policies 0 thresholds 1", "0.5", "manifest.policies[0].thresholds is not numbers"),
        ("policies 0 thresholds 1", True, "manifest.policies[0].thresholds is not numbers"),
        ("policies 0 thresholds 1", math.nan, "manifest.policies[0].thresholds is not numbers"),
        ("policies 0 thresholds 1", 10**400, "manifest.policies[0].thresholds is not numbers"),
        ("policies 0 thresholds 1", -0.1, "from 0 to 1"),
        ("policies 2 thresholds 1", 1.0, "lets images exit early by the policy full"),
        ("precisions", [], "manifest.precisions is not an object"),
        ("precisions fp32", ABSENT, "has no segments in fp32"),
        ("precisions fp32 2", ABSENT, "has 2 segments in fp32 for 3 exits"),
        ("precisions int8", [], "has 0 segments in int8 for 3 exits"),
        ("precisions int8 2", "int8/segment1.onnx", "disagrees with itself on its files: ['int8/segment2.onnx']"),
        ("precisions int8 2", None, "manifest.precisions.int8 is not texts"),
        ("files", None, "manifest.files is not an object"),
        ("files fp32/segment0.onnx", ABSENT, "disagrees with itself on its files: ['fp32/segment0.onnx']"),
        ("files more", {"bytes": 1, "sha256": ""}, "disagrees with itself on its files: ['more']"),
        ("files fp32/segment0.onnx", 5, "manifest.files.fp32/segment0.onnx is not an object"),
        ("files fp32/segment0.onnx bytes", "1", "manifest.files.fp32/segment0.onnx.bytes is not a whole number"),
        ("files fp32/segment0.onnx sha256", None, "manifest.files.fp32/segment0.onnx.sha256 is not a text"),
        ("report", [], "manifest.report is not an object"),
        ("provenance", "UCM", "manifest.provenance is not an object"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)
def test_what_no_export_writes_is_refused_by_name(place: str, value: object, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_dict(changed(place, value))
    assert message in str(caught.value)


CHANGED_REFERENCE = "its manifest has a reference that is not usable: "
IN_ALL = "20 numbers of images for each exit"
SOME = "numbers of images, 1 to 500000000 in all"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("policies 0 temperatures", 1.0, "manifest.policies[0].temperatures is not a list"),
        ("policies 0 temperatures", None, "manifest.policies[0].temperatures is not a list"),
        ("policies 0 temperatures 1", None, "manifest.policies[0].temperatures is not numbers"),
        ("policies 0 temperatures 1", "2", "manifest.policies[0].temperatures is not numbers"),
        ("policies 0 temperatures 1", math.nan, "manifest.policies[0].temperatures is not numbers"),
        ("policies 0 temperatures 1", math.inf, "manifest.policies[0].temperatures is not numbers"),
        ("policies 0 temperatures 1", True, "manifest.policies[0].temperatures is not numbers"),
        ("policies 0 temperatures 1", 0, "its policy calibrated has temperatures that are not positive"),
        ("policies 0 temperatures 1", -2.0, "its policy calibrated has temperatures that are not positive"),
        ("policies 0 temperatures 1", ABSENT, "its policy calibrated has 2 temperatures for a network with 2 early"),
        ("policies 0 tables", {}, "manifest.policies[0].tables is not a list"),
        ("policies 0 tables", ABSENT, "its policy calibrated has 0 tables for a network with 2 early exits"),
        ("policies 0 tables 1", ABSENT, "its policy calibrated has 1 tables for a network with 2 early exits"),
        ("policies 0 tables 0", [], "manifest.policies[0].tables[0] is not an object"),
        ("policies 0 tables 0 edges", ABSENT, "manifest.policies[0].tables[0] has no 'edges'"),
        ("policies 0 tables 0 edges 0", None, "manifest.policies[0].tables[0].edges is not numbers"),
        ("policies 0 tables 0 edges 0", 0.6, "a table of accuracies whose bins are not in order"),
        ("policies 0 tables 0 edges 0", ABSENT, "a table of accuracies whose bins are not in order"),
        ("policies 0 tables 0 accuracies", ABSENT, "manifest.policies[0].tables[0] has no 'accuracies'"),
        ("policies 0 tables 0 accuracies 2", ABSENT, "a table of accuracies whose bins are not in order"),
        ("policies 0 tables 0 accuracies 2", "high", "manifest.policies[0].tables[0].accuracies is not numbers"),
        ("policies 0 guarantee", None, "manifest.policies[0].guarantee is not an object"),
        ("policies 0 guarantee", "95 %", "manifest.policies[0].guarantee is not an object"),
        ("policies 0 references", None, "manifest.policies[0].references is not an object"),
        ("policies 0 references", [], "manifest.policies[0].references is not an object"),
        ("policies 0 references fp32", None, "manifest.policies[0].references.fp32 is not an object"),
        ("policies 0 references fp32", [[0] * 20], "manifest.policies[0].references.fp32 is not an object"),
        ("policies 0 references fp32 histogram", ABSENT, CHANGED_REFERENCE),
        ("policies 0 references fp32 histogram", 3, CHANGED_REFERENCE),
        ("policies 0 references fp32 histogram", [], CHANGED_REFERENCE + "the reference needs " + IN_ALL),
        ("policies 0 references fp32 histogram", [3], CHANGED_REFERENCE),
        ("policies 0 references fp32 histogram", "abc", CHANGED_REFERENCE + "the reference needs " + IN_ALL),
        ("policies 0 references fp32 histogram 0", [1] * 19, CHANGED_REFERENCE + "the reference needs " + IN_ALL),
        ("policies 0 references fp32 histogram 1 3", -1, CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram 1 3", 1.5, CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram 1 3", True, CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram 1 3", None, CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram 1 3", [1], CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram 1 3", 10**400, CHANGED_REFERENCE + "the reference needs " + SOME),
        ("policies 0 references fp32 histogram", [[0] * 20] * 3, CHANGED_REFERENCE + "the reference needs " + SOME),
        (
            "policies 0 references fp32 histogram 2",
            ABSENT,
            "its policy calibrated has 2 references.fp32 for a network with 2 early",
        ),
        ("policies 0 unknown_rule", 0.05, "manifest.policies[0].unknown_rule is not an object"),
        ("policies 0 unknown_rule score", "telepathy", "has the unknown score 'telepathy': update gfnet-dynn"),
        ("policies 0 unknown_rule score", ABSENT, "manifest.policies[0].unknown_rule has no 'score'"),
        ("policies 0 unknown_rule thresholds", ABSENT, "manifest.policies[0].unknown_rule has no 'thresholds'"),
        ("policies 0 unknown_rule thresholds 0", "-1", "manifest.policies[0].unknown_rule.thresholds is not numbers"),
        (
            "policies 0 unknown_rule thresholds 0",
            math.nan,
            "manifest.policies[0].unknown_rule.thresholds is not numbers",
        ),
        (
            "policies 0 unknown_rule thresholds 0",
            ABSENT,
            "its policy calibrated has 2 unknown_rule for a network with 2 early",
        ),
        (
            "policies 0 unknown_rule false_alarms",
            None,
            "manifest.policies[0].unknown_rule.false_alarms is not a number",
        ),
        (
            "policies 0 unknown_rule false_alarms",
            1.0,
            "manifest.policies[0].unknown_rule.false_alarms is not a number between 0 and 1",
        ),
        ("policies 0 prediction_sets", None, "manifest.policies[0].prediction_sets is not an object"),
        ("policies 0 prediction_sets score", "large", "has the unknown score 'large': update gfnet-dynn"),
        ("policies 0 prediction_sets score", 1, "manifest.policies[0].prediction_sets.score is not a text"),
        ("policies 0 prediction_sets quantiles", 0.9, "manifest.policies[0].prediction_sets.quantiles is not a list"),
        (
            "policies 0 prediction_sets quantiles 0",
            False,
            "manifest.policies[0].prediction_sets.quantiles is not numbers",
        ),
        (
            "policies 0 prediction_sets quantiles 0",
            math.inf,
            "manifest.policies[0].prediction_sets.quantiles is not numbers",
        ),
        (
            "policies 0 prediction_sets quantiles 0",
            ABSENT,
            "its policy calibrated has 2 prediction_sets for a network with 2 early exits",
        ),
        ("policies 0 prediction_sets coverage", ABSENT, "manifest.policies[0].prediction_sets has no 'coverage'"),
        (
            "policies 0 prediction_sets coverage",
            "90 %",
            "manifest.policies[0].prediction_sets.coverage is not a number",
        ),
        (
            "policies 0 prediction_sets coverage",
            0,
            "manifest.policies[0].prediction_sets.coverage is not a number between 0 and 1",
        ),
        ("policies 1 name", "calibrated", "has the policies ['calibrated', 'calibrated', 'plain', 'full']"),
        ("learned_from", None, "manifest.learned_from is not a text"),
        ("learned_from", ["learned_from.sha256"], "manifest.learned_from is not a text"),
        ("learned_from", "\x1b[2J", "manifest.learned_from is not a text"),
        ("learned_from", ABSENT, "disagrees with itself on its files: ['learned_from.sha256']"),
        ("learned_from", "other", "disagrees with itself on its files: ['learned_from.sha256', 'other']"),
        ("learned_from", "", "disagrees with itself on its files: ['learned_from.sha256']"),
        ("files learned_from.sha256", ABSENT, "disagrees with itself on its files: ['learned_from.sha256']"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)
def test_what_no_calibration_writes_is_refused_by_name(place: str, value: object, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_dict(changed(place, value, WITH_ALL))
    assert message in str(caught.value)


def test_a_calibrated_manifest_with_digests_is_read_back() -> None:
    found = Manifest.from_dict(WITH_ALL)
    assert found.policy() == bundles.CALIBRATED
    assert found.learned_from == NAME
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == WITH_ALL


@pytest.mark.parametrize("value", [None, [], "manifest", 3])
def test_a_manifest_is_an_object(value: object) -> None:
    with pytest.raises(BundleError, match="its manifest is not an object"):
        Manifest.from_dict(value)


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
