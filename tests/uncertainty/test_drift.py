from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits.rule import first_exit
from gfnet_dynn.exits.scores import max_probability
from gfnet_dynn.uncertainty.drift import BINS, Reference, chi_square, compare, reference_of
from tests.exits.populations import make_population

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

EXITS = 4
DRAWS = 500


@cache
def gated() -> tuple[Ints, Floats]:
    """Exits [N] and confidences [N] of all images there are."""
    arrays = make_population().arrays
    exits = first_exit(arrays.gates, 0.6)
    logits = arrays.logits[np.arange(len(exits)), exits] + np.random.default_rng(7).normal(0, 1, (len(exits), 5))
    return exits, max_probability(logits).astype(np.float64)


def drawn(seed: int, images: int, share_hard: float = 0.0) -> tuple[Ints, Floats]:
    """A draw of images; a share of them from those that stay to the end."""
    exits, confidences = gated()
    generator = np.random.default_rng([5, seed])
    rows = generator.integers(0, len(exits), images)
    hard = np.flatnonzero(exits == EXITS - 1)
    rows = np.where(generator.random(images) < share_hard, generator.choice(hard, images), rows)
    return exits[rows], confidences[rows]


def rejections(alpha: float, old: int, new: int, share_hard: float = 0.0, draws: int = DRAWS) -> float:
    """Share of the draws in which the premise is rejected; a new reference each time, as calibration draws one."""
    found = 0
    for seed in range(draws):
        reference = reference_of(*drawn(2 * seed, old), EXITS)
        found += compare(reference, *drawn(2 * seed + 1, new, share_hard), alpha=alpha).rejected
    return found / draws


@pytest.mark.parametrize(("alpha", "old", "new"), [(0.01, 400, 100), (0.1, 150, 40)])
def test_the_premise_is_rejected_no_more_often_than_allowed_where_it_holds(alpha: float, old: int, new: int) -> None:
    assert rejections(alpha, old, new) <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / DRAWS)


def test_a_shifted_population_is_seen() -> None:
    """The test above can fail: rejections there are."""
    assert rejections(0.01, 400, 100, share_hard=0.5, draws=50) > 0.9
    assert 0.1 < rejections(0.01, 400, 100, share_hard=0.25, draws=50) < 0.9


def test_more_images_see_more() -> None:
    few, many = (rejections(0.01, 1000, count, share_hard=0.1, draws=50) for count in (30, 1000))
    assert few < 0.5 < many


def test_a_change_of_confidence_alone_is_seen() -> None:
    exits, confidences = drawn(0, 1000)
    found = compare(reference_of(exits, confidences, EXITS), exits[:300], confidences[:300] ** 2)
    assert found.rejected
    assert found.confidences_p < 0.005 < found.exits_p


def test_a_change_of_exits_alone_is_seen() -> None:
    exits, confidences = drawn(0, 1000)
    found = compare(reference_of(exits, confidences, EXITS), np.minimum(exits[:300] + 1, 3), confidences[:300])
    assert found.rejected
    assert found.exits_p < 0.005 < found.confidences_p


def test_the_same_images_are_no_drift() -> None:
    exits, confidences = drawn(0, 500)
    found = compare(reference_of(exits, confidences, EXITS), exits, confidences)
    assert (found.exits_p, found.confidences_p, found.exits_distance, found.confidences_distance) == (1, 1, 0, 0)
    assert not found.rejected


@settings(deadline=None)  # the first import of SciPy takes its time
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=12))
def test_the_statistic_is_scipys(cells: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development dependency")
    old, new = np.array(cells, np.int64).T
    if old.sum() == 0 or new.sum() == 0:
        return
    table = np.stack((old, new))[:, old + new > 0]
    expected = stats.chi2_contingency(table, correction=False).statistic
    assert chi_square(old + new, new) == pytest.approx(expected, abs=1e-9)
    assert chi_square(old + new, np.stack((new, new))) == pytest.approx([expected] * 2, abs=1e-9)


@pytest.mark.parametrize("early", [3, 9, 12, 15])
def test_the_p_value_is_that_of_all_divisions(early: int) -> None:
    """Two exits: all tables can be counted, 50 old images with 30 early, 20 new."""
    stats = pytest.importorskip("scipy.stats", reason="a development dependency")
    pooled, numbers = np.array([30 + early, 40 - early]), np.arange(21)
    tables = np.stack((numbers, 20 - numbers), axis=1)
    chances = stats.hypergeom.pmf(numbers, 70, 30 + early, 20)
    statistics = chi_square(pooled, tables)
    exact = chances[statistics >= statistics[early] - 1e-9].sum()
    reference = reference_of(np.repeat([0, 1], (30, 20)), np.full(50, 0.5), 2)
    found = compare(reference, np.repeat([0, 1], (early, 20 - early)), np.full(20, 0.5), alpha=0.001)
    assert found.exits_p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    assert found.confidences_p == 1


def test_the_p_value_is_never_zero_and_can_reject_at_every_level() -> None:
    reference = reference_of(np.zeros(300, np.intp), np.ones(300), 2)
    for alpha in (0.0001, 0.001, 0.01, 0.5):
        found = compare(reference, np.ones(300, np.intp), np.zeros(300), alpha=alpha)
        assert 0 < found.exits_p <= alpha / 2
        assert found.rejected


def test_the_answer_is_the_same_each_time() -> None:
    reference, new = reference_of(*drawn(0, 300), EXITS), drawn(1, 60)
    assert compare(reference, *new) == compare(reference, *new)
    assert compare(reference, *new).confidences_p != compare(reference, *new, seed=1).confidences_p


def test_counts_by_hand() -> None:
    exits, confidences = np.array([0, 2, 2, 0, 2]), np.array([0.0, 0.05, 0.999, 1.0, 1.0], np.float32)
    reference = reference_of(exits, confidences, 4)
    assert reference.images == 5
    assert reference.exit_counts == (2, 0, 3, 0)
    assert [(row, level) for row, line in enumerate(reference.histogram) for level in range(BINS) if line[level]] == [
        *((0, 0), (0, 19), (2, 1), (2, 19)),
    ]
    assert reference.histogram[2][19] == 2


def test_shares_and_distances_by_hand() -> None:
    reference = reference_of(np.repeat([0, 1], (60, 40)), np.repeat([0.9, 0.6], (50, 50)), 2)
    found = compare(reference, np.repeat([0, 1], (10, 30)), np.full(40, 0.9))
    assert (found.images, found.reference_images) == (40, 100)
    assert found.shares_then == (0.6, 0.4)
    assert found.shares_now == (0.25, 0.75)
    assert found.exits_distance == pytest.approx(0.35)
    assert found.confidences_distance == pytest.approx(0.5)


def test_it_says_so_in_words() -> None:
    reference = reference_of(*drawn(0, 400), EXITS)
    same, other = compare(reference, *drawn(1, 200)), compare(reference, *drawn(1, 200, share_hard=0.8))
    assert "200 new images show no sign of coming otherwise than the 400 calibration images did" in str(same)
    assert "200 new images do not come as the 400 calibration images did: what was guaranteed" in str(other)
    assert f"p = {other.exits_p:.2g}" in str(other)
    assert f"{100 * other.shares_now[3]:.1f} % now" in str(other)


@settings(max_examples=30)
@given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_reference_survives_json(images: int, num_exits: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = reference_of(generator.integers(0, num_exits, images), generator.random(images), num_exits)
    assert msgspec.json.decode(msgspec.json.encode(reference), type=Reference) == reference
    assert reference.images == images


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"histogram": None},
        {"histogram": []},
        {"histogram": [[1] * BINS, [1] * (BINS - 1)]},
        {"histogram": [["1"] * BINS]},
        {"histogram": [[True] * BINS]},
        {"histogram": [[0.5] * BINS]},
        {"histogram": [[-1] + [5] * (BINS - 1)]},
        {"histogram": [[0] * BINS]},
        {"histogram": [[10**30] * BINS]},
        {"histogram": ["a" * BINS]},
    ],
)
def test_what_is_no_reference_is_told(value: Any) -> None:
    with pytest.raises((msgspec.ValidationError, CalibrationError)):
        msgspec.convert(value, Reference)


def test_too_few_images_are_told_how_many_would_do() -> None:
    reference, new = reference_of(*drawn(0, 100), EXITS), drawn(1, 19)
    with pytest.raises(CalibrationError, match="19 new images cannot be compared: give at least 20"):
        compare(reference, *new)
    with pytest.raises(CalibrationError, match="1 calibration image cannot be compared: give at least 20"):
        compare(reference_of(*drawn(0, 1), EXITS), *drawn(1, 50))
    assert compare(reference_of(*drawn(0, 20), EXITS), *drawn(1, 20)).images == 20


@pytest.mark.parametrize("alpha", [0.0, 0.00001, 1.0, -1.0, float("nan")])
def test_levels_that_make_no_sense(alpha: float) -> None:
    with pytest.raises(CalibrationError, match=r"level must lie between 0\.0001 and 1"):
        compare(reference_of(*drawn(0, 100), EXITS), *drawn(1, 50), alpha=alpha)


def test_what_another_network_says_is_told() -> None:
    reference = reference_of(*drawn(0, 100), EXITS)
    exits, confidences = drawn(1, 50)
    with pytest.raises(CalibrationError, match="50 images need an exit each, from 0 to 3"):
        compare(reference, exits + 1, confidences)
    with pytest.raises(CalibrationError, match="50 images need an exit each"):
        compare(reference, exits[:40], confidences)
    for wrong in (np.nan, 1.01, -0.1):
        with pytest.raises(CalibrationError, match="confidences are not numbers from 0 to 1"):
            compare(reference, exits, np.where(np.arange(50) == 7, wrong, confidences))


def test_a_network_without_early_exits_is_judged_by_its_confidence() -> None:
    confidences = np.random.default_rng(0).random(200)
    reference = reference_of(np.zeros(200, np.intp), confidences, 1)
    found = compare(reference, np.zeros(50, np.intp), np.full(50, 0.99))
    assert found.exits_p == 1
    assert found.rejected


def test_a_reference_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        reference_of(*drawn(0, 30), EXITS).histogram = ()  # type: ignore[misc] # what is tested
