from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.bundle.policy import Policy, PredictionSets, UnknownRule, restore_infinities
from gfnet_dynn.errors import BundleError
from gfnet_dynn.exits import NEVER, SCORES, UNFITTED, AccuracyTable, ExitArrays, Fitted
from gfnet_dynn.uncertainty.drift import BINS, Reference
from tests import bundles
from tests.bundles import CALIBRATED

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1, exclude_min=True, exclude_max=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | FINITE | TEXTS, st.lists, max_leaves=4)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Anything that a policy may be, for any number of exits."""
    exits = draw(st.integers(1, 4))

    def numbers(each: st.SearchStrategy[float], count: int = exits) -> tuple[float, ...]:
        return tuple(draw(st.lists(each, min_size=count, max_size=count)))

    def table() -> AccuracyTable:
        edges = tuple(sorted(draw(st.lists(FINITE, max_size=3))))
        return AccuracyTable(edges, numbers(FINITE, len(edges) + 1))

    counts = st.lists(st.integers(0, 9), min_size=BINS, max_size=BINS).map(tuple)
    histogram = tuple(draw(st.lists(counts, min_size=exits, max_size=exits)))
    some = any(map(any, histogram))
    unknowns = UnknownRule(numbers(FINITE | st.just(-math.inf)), draw(SHARES))
    sets = PredictionSets(numbers(FINITE | st.just(math.inf)), draw(SHARES))
    temperatures = numbers(st.floats(0, exclude_min=True, allow_infinity=False)) if draw(st.booleans()) else ()
    return Policy(
        name=draw(TEXTS),
        score=draw(st.sampled_from(SCORES)),
        thresholds=numbers(st.floats(0, 1) | st.just(NEVER), exits - 1),
        source=draw(TEXTS),
        fitted=Fitted(temperatures, tuple(table() for _ in range(exits - 1)) if draw(st.booleans()) else ()),
        guarantee=draw(st.dictionaries(TEXTS, JSON, max_size=3)),
        references={"fp32": Reference(histogram, (sum(map(sum, histogram)), 0, 0))}
        if some and draw(st.booleans())
        else {},
        unknown_rule=unknowns if draw(st.booleans()) else None,
        prediction_sets=sets if draw(st.booleans()) else None,
    )


def through_json(policy: Policy) -> Policy:
    return read(json.loads(json.dumps(policy.to_dict(), allow_nan=False)))


def read(described: object) -> Policy:
    restore_infinities(described)
    return msgspec.convert(described, Policy)


@given(policies())
def test_every_policy_comes_back_from_json(policy: Policy) -> None:
    assert through_json(policy) == policy


def test_a_digest_is_of_what_decides_when_images_leave_and_nothing_else() -> None:
    policy = CALIBRATED
    assert len(policy.digest) == 12
    assert through_json(policy).digest == policy.digest
    assert replace(policy, name="x", source="y", guarantee={}, references={}, unknown_rule=None).digest == policy.digest
    fitted = replace(policy.fitted, temperatures=(1.5,) * len(policy.fitted.temperatures))
    others = [
        replace(policy, thresholds=(*policy.thresholds[:-1], 0.123)),
        replace(policy, score="entropy" if policy.score != "entropy" else "margin"),
        replace(policy, fitted=fitted),
    ]
    assert len({policy.digest, *(each.digest for each in others)}) == 4


def test_the_calibrated_policy_comes_back_from_json_with_its_infinities() -> None:
    described = CALIBRATED.to_dict()
    assert described["thresholds"] == [0.7, None]
    assert described["prediction_sets"] == {"quantiles": [0.4, None, 0.9], "coverage": 0.9}
    assert described["unknown_rule"] == {"thresholds": [-1.5, 0.25, None], "false_alarms": 0.05, "distance": None}
    found = through_json(CALIBRATED)
    assert found == CALIBRATED
    assert found.thresholds[1] == NEVER
    assert found.prediction_sets is not None
    assert found.prediction_sets.quantiles[1] == math.inf
    assert found.unknown_rule is not None
    assert found.unknown_rule.thresholds[2] == -math.inf


def test_what_a_policy_does_not_have_may_be_absent() -> None:
    plain = Policy("gates", "gate", (0.7, 0.6), "made up")
    assert through_json(plain) == plain
    assert read({"name": "gates", "score": "gate", "thresholds": [0.7, 0.6], "source": "made up"}) == plain


def test_the_values_written_are_the_policys_own_to_the_last_bit() -> None:
    third = float(np.float32(1) / np.float32(3))
    policy = replace(CALIBRATED, thresholds=(third, 0.1 + 0.2), fitted=replace(CALIBRATED.fitted, temperatures=()))
    assert through_json(policy).thresholds == (third, 0.1 + 0.2)


def test_signals_are_made_with_what_the_policy_was_fitted_to() -> None:
    logits = np.zeros((1, 3, 2), np.float32)
    logits[0, 0, 1] = math.log(3)  # at temperature 0.5: nine to one
    arrays = ExitArrays(logits, np.zeros((1, 2), np.float32), np.zeros(1, np.int64))
    warm = Policy("p", "max-softmax", (0.5, 0.5), "made up", Fitted((0.5, 1.0, 1.0)))
    np.testing.assert_allclose(warm.scores(arrays).gates, [[0.9, 0.5]], rtol=1e-6)
    neighbours = replace(CALIBRATED, score="neighbours")
    np.testing.assert_allclose(neighbours.scores(arrays).gates, [[0.9, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("share", [0, 1, 1.0, -0.1, 1.5, 90])
@pytest.mark.parametrize("place", [("prediction_sets", "coverage"), ("unknown_rule", "false_alarms")])
def test_shares_that_promise_nothing_or_too_much_are_refused(place: tuple[str, str], share: float) -> None:
    described = CALIBRATED.to_dict()
    described[place[0]][place[1]] = share
    with pytest.raises(msgspec.ValidationError) as caught:
        read(described)
    assert f"at `$.{place[0]}.{place[1]}`" in str(caught.value)


TABLE = AccuracyTable((), (0.5,))
MISFITS: list[tuple[Policy, str]] = [
    (replace(CALIBRATED, thresholds=(0.5,)), "1 thresholds"),
    (replace(CALIBRATED, thresholds=(0.5,) * 3), "3 thresholds"),
    (replace(CALIBRATED, thresholds=()), "0 thresholds"),
    (replace(CALIBRATED, fitted=Fitted((1.0, 1.0), CALIBRATED.fitted.tables)), "2 temperatures"),
    (replace(CALIBRATED, fitted=Fitted((1.0,) * 4, CALIBRATED.fitted.tables)), "4 temperatures"),
    (replace(CALIBRATED, fitted=Fitted((), (TABLE,))), "1 tables"),
    (replace(CALIBRATED, fitted=Fitted((), (TABLE,) * 3)), "3 tables"),
    (replace(CALIBRATED, fitted=UNFITTED), "0 tables"),
    (replace(CALIBRATED, score="margin", fitted=Fitted((), (TABLE,))), "1 tables"),
    (replace(CALIBRATED, unknown_rule=UnknownRule((0.0, 0.0), 0.1)), "2 unknown_rule"),
    (replace(CALIBRATED, unknown_rule=UnknownRule((), 0.1)), "0 unknown_rule"),
    (replace(CALIBRATED, prediction_sets=PredictionSets((0.5,) * 4, 0.9)), "4 prediction_sets"),
    (replace(CALIBRATED, prediction_sets=PredictionSets((), 0.9)), "0 prediction_sets"),
    (replace(CALIBRATED, references={"int8": Reference(((1,) * BINS,) * 2, (20, 20, 0))}), "2 references.int8"),
]


@pytest.mark.parametrize(("policy", "part"), MISFITS, ids=[part for _, part in MISFITS])
def test_parts_for_another_number_of_exits_are_refused_by_name(policy: Policy, part: str) -> None:
    CALIBRATED.require_fit(3, 3)
    with pytest.raises(BundleError) as caught:
        policy.require_fit(3, 3)
    assert str(caught.value) == f"its policy calibrated has {part} for a network with 2 early exits"
    with pytest.raises(BundleError, match=part):
        bundles.manifest(policies=(policy, *bundles.POLICIES))


@pytest.mark.parametrize("score", [each for each in SCORES if each != "neighbours"])
def test_only_neighbours_need_tables(score: Any) -> None:
    replace(CALIBRATED, score=score, fitted=UNFITTED).require_fit(3, 3)
