from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.exits import first_exit, max_probability
from gfnet_dynn.uncertainty.drift import (
    BINS,
    Comparison,
    Observations,
    Reference,
    ShiftTest,
    chi_square,
    compare,
    reference_of,
)
from tests.exits.populations import CLASSES, make_population

Ints = npt.NDArray[np.intp]

EXITS = 4
DRAWS = [150, pytest.param(400, marks=pytest.mark.release)]


@cache
def gated() -> Observations:
    """All images there are."""
    arrays = make_population().arrays
    exits = first_exit(arrays.gates, 0.6)
    logits = arrays.logits[np.arange(len(exits)), exits] + np.random.default_rng(7).normal(0, 1, (len(exits), CLASSES))
    return Observations(exits, max_probability(logits).astype(np.float64), logits.argmax(axis=1))


def take(observed: Observations, rows: Ints) -> Observations:
    return Observations(observed.exits[rows], observed.confidences[rows], observed.classes[rows])


def drawn(seed: int, images: int, share_hard: float = 0.0, share_class: float = 0.0) -> Observations:
    """A draw of images; a share of them from those that take the final exit, or that are predicted as class 0."""
    generator = np.random.default_rng([5, seed])
    rows = generator.integers(0, len(gated()), images)
    for chosen, share in ((gated().exits == EXITS - 1, share_hard), (gated().classes == 0, share_class)):
        rows = np.where(generator.random(images) < share, generator.choice(np.flatnonzero(chosen), images), rows)
    return take(gated(), rows)


def reference_from(observed: Observations) -> Reference:
    return reference_of(observed, EXITS, CLASSES)


def p_of(found: Comparison, of: str) -> float:
    return next(each.p for each in found.tests if each.of == of)


def distance_of(found: Comparison, of: str) -> float:
    return next(each.distance for each in found.tests if each.of == of)


def two_exits(*counts: int, confidence: float = 0.5) -> Observations:
    """So many images at each exit, all of class 0."""
    exits = np.repeat(np.arange(len(counts)), counts)
    return Observations(exits, np.full(len(exits), confidence), np.zeros(len(exits), np.intp))


def rejections(level: float, old: int, new: int, draws: int = 50, **shift: float) -> float:
    """Share of the draws in which a shift is detected; a new reference each time, as calibration draws one."""
    found = 0
    for seed in range(draws):
        reference = reference_from(drawn(2 * seed, old))
        found += compare(reference, drawn(2 * seed + 1, new, **shift), level).shift_detected
    return found / draws


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize(("level", "old", "new"), [(0.01, 400, 100), (0.1, 150, 40)])
def test_without_a_shift_one_is_detected_no_more_often_than_the_level(
    level: float, old: int, new: int, draws: int
) -> None:
    assert rejections(level, old, new, draws) <= level + 2 * math.sqrt(level * (1 - level) / draws)


def test_a_shifted_population_is_detected() -> None:
    """The test above can fail: rejections there are."""
    assert rejections(0.01, 400, 100, share_hard=0.5) > 0.9
    assert 0.1 < rejections(0.01, 400, 100, share_hard=0.25) < 0.9


def test_another_share_of_a_class_is_detected() -> None:
    assert rejections(0.01, 400, 100, share_class=0.4) > 0.9


def test_more_images_detect_more() -> None:
    few, many = (rejections(0.01, 1000, count, share_hard=0.1) for count in (30, 2000))
    assert few < 0.5 < many


@pytest.mark.parametrize("of", ["exits", "confidences", "classes"])
def test_a_change_of_one_alone_is_detected_by_its_test_alone(of: str) -> None:
    everything = drawn(0, 1000)
    part = take(everything, np.arange(300))
    changes = {
        "exits": np.minimum(part.exits + 1, 3),
        "confidences": part.confidences**2,
        "classes": np.where(np.arange(300) < 100, 0, part.classes),
    }
    found = compare(reference_from(everything), replace(part, **{of: changes[of]}))
    assert found.shift_detected
    assert [each.of for each in found.tests if each.p <= 0.01 / 3] == [of]


def test_the_three_tests_share_the_level() -> None:
    found = Comparison(
        100, 100, 0.03, tuple(ShiftTest(of, p, 0, (1,), (1,)) for of, p in (("a", 0.011), ("b", 1), ("c", 1)))
    )
    assert not found.shift_detected
    assert replace(found, significance_level=0.034).shift_detected


def test_the_same_images_are_no_shift() -> None:
    observed = drawn(0, 500)
    found = compare(reference_from(observed), observed)
    assert [(each.p, each.distance) for each in found.tests] == [(1, 0)] * 3
    assert not found.shift_detected


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
    reference = reference_of(two_exits(30, 20), 2, 1)
    found = compare(reference, two_exits(early, 20 - early), 0.003)
    assert p_of(found, "exits") == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)
    assert p_of(found, "confidences") == p_of(found, "classes") == 1


def test_the_p_value_is_never_zero_and_can_reject_at_every_level() -> None:
    reference = reference_of(two_exits(300, 0, confidence=1), 2, 1)
    for level in (0.0001, 0.001, 0.01, 0.5):
        found = compare(reference, two_exits(0, 300, confidence=0), level)
        assert 0 < p_of(found, "exits") <= level / 3
        assert found.shift_detected


def test_many_classes_are_drawn_in_parts() -> None:
    """More numbers than are drawn at a time."""
    classes = np.arange(4000) % 2000
    observed = Observations(np.zeros(4000, np.intp), np.full(4000, 0.5), classes)
    reference = reference_of(observed, 1, 2000)
    assert p_of(compare(reference, take(observed, np.arange(1000)), 0.1), "classes") > 0.5
    assert p_of(compare(reference, replace(observed, classes=classes // 4), 0.1), "classes") < 0.001


def test_the_result_is_the_same_each_time() -> None:
    reference, new = reference_from(drawn(0, 300)), drawn(1, 60)
    assert compare(reference, new) == compare(reference, new)
    assert compare(reference, new).tests[1].p != compare(reference, new, seed=1).tests[1].p


def test_counts_by_hand() -> None:
    exits, confidences = np.array([0, 2, 2, 0, 2]), np.array([0.0, 0.05, 0.999, 1.0, 1.0], np.float32)
    reference = reference_of(Observations(exits, confidences, np.array([1, 1, 0, 1, 3])), 4, 5)
    assert reference.images == 5
    assert reference.exit_counts == (2, 0, 3, 0)
    assert reference.classes == (1, 3, 0, 1, 0)
    assert [(row, level) for row, line in enumerate(reference.histogram) for level in range(BINS) if line[level]] == [
        *((0, 0), (0, 19), (2, 1), (2, 19)),
    ]
    assert reference.histogram[2][19] == 2


def test_shares_and_distances_by_hand() -> None:
    old = Observations(np.repeat([0, 1], (60, 40)), np.repeat([0.9, 0.6], (50, 50)), np.repeat([0, 2], (75, 25)))
    new = Observations(np.repeat([0, 1], (10, 30)), np.full(40, 0.9), np.repeat([0, 1], (30, 10)))
    found = compare(reference_of(old, 2, 3), new)
    assert (found.images, found.reference_images) == (40, 100)
    assert found.tests[0].reference_shares == (0.6, 0.4)
    assert found.tests[0].shares == (0.25, 0.75)
    assert found.tests[2].reference_shares == (0.75, 0, 0.25)
    assert found.tests[2].shares == (0.75, 0.25, 0)
    assert [distance_of(found, of) for of in ("exits", "confidences", "classes")] == pytest.approx([0.35, 0.5, 0.25])


@pytest.mark.parametrize(
    ("histogram", "classes"),
    [
        ((), (0,)),
        (((1,) * BINS, (1,) * (BINS - 1)), (2 * BINS - 1,)),
        (((True,) * BINS,), (BINS,)),
        (((0.5,) * BINS,), (BINS // 2,)),
        (((-1, *(5,) * (BINS - 1)),), (5 * BINS - 6,)),
        (((0,) * BINS,), (0,)),
        (((10**30,) * BINS,), (BINS * 10**30,)),
        (((1,) * BINS,), (BINS - 1,)),
        (((1,) * BINS,), (BINS + 1, -1)),
        (((1,) * BINS,), ()),
    ],
)
def test_what_is_no_reference_is_refused(histogram: Any, classes: Any) -> None:
    with pytest.raises((msgspec.ValidationError, CalibrationError)):
        msgspec.convert({"histogram": histogram, "classes": classes}, Reference)


def test_too_few_images_are_refused_with_the_number_needed() -> None:
    reference, new = reference_from(drawn(0, 100)), drawn(1, 19)
    with pytest.raises(CalibrationError, match=r"19 new images .* at least 20"):
        compare(reference, new)
    with pytest.raises(CalibrationError, match=r"1 calibration image .* at least 20"):
        compare(reference_from(drawn(0, 1)), drawn(1, 50))
    assert compare(reference_from(drawn(0, 20)), drawn(1, 20)).images == 20


@pytest.mark.parametrize("level", [0.0, 0.00001, 1.0, -1.0, float("nan")])
def test_levels_out_of_range_are_refused(level: float) -> None:
    with pytest.raises(OptionError, match=r"0\.01%"):
        compare(reference_from(drawn(0, 100)), drawn(1, 50), level)


def test_confidences_that_are_no_probabilities_are_refused() -> None:
    reference, new = reference_from(drawn(0, 100)), drawn(1, 50)
    for wrong in (np.nan, 1.01, -0.1):
        with pytest.raises(CalibrationError, match="confidences"):
            compare(reference, replace(new, confidences=np.where(np.arange(50) == 7, wrong, new.confidences)))


def test_a_network_without_early_exits_is_compared_by_the_others() -> None:
    nothing = np.zeros(200, np.intp)
    reference = reference_of(Observations(nothing, np.random.default_rng(0).random(200), nothing), 1, 1)
    found = compare(reference, Observations(nothing[:50], np.full(50, 0.99), nothing[:50]))
    assert p_of(found, "exits") == 1
    assert found.shift_detected


def test_a_reference_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        reference_from(drawn(0, 30)).histogram = ()  # type: ignore[misc] # what is tested
