from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import first_exit, softmax
from gfnet_dynn.uncertainty.conformal import (
    ALL_CLASSES,
    conformal_quantile,
    images_needed,
    nonconformity,
    per_exit_quantiles,
    prediction_sets,
)
from tests.exits.populations import make_population

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

EXITS = 4
DRAWS = 500


@cache
def gated() -> tuple[Floats, Ints, Ints]:
    """Probabilities [N, K] at the exit taken, labels [N] and exits [N] of all images there are; no two scores equal."""
    arrays = make_population().arrays
    exits = first_exit(arrays.gates, 0.6)
    logits = arrays.logits[np.arange(len(exits)), exits] + np.random.default_rng(7).normal(0, 1, (len(exits), 5))
    return softmax(logits), arrays.labels.astype(np.intp), exits


@cache
def true_scores() -> Floats:
    everything, labels, _ = gated()
    return nonconformity(everything, labels)


def rows_of(seed: int, images: int) -> Ints:
    return np.random.default_rng([3, seed]).integers(0, len(gated()[2]), images)


def no_less(values: Sequence[float], guaranteed: float) -> bool:
    return float(np.mean(values)) >= guaranteed - 3 * float(np.std(values)) / math.sqrt(len(values))


@pytest.mark.parametrize(("images", "coverage"), [(30, 0.95), (200, 0.9), (200, 0.75)])
def test_the_true_class_is_covered_as_often_as_promised_and_hardly_more(images: int, coverage: float) -> None:
    """Coverage of each threshold over all images there are: no estimate."""
    scores = true_scores()
    ranked = np.sort(scores)
    found = []
    for seed in range(DRAWS):
        threshold = conformal_quantile(scores[rows_of(seed, images)], coverage)
        found.append(np.searchsorted(ranked, threshold, side="right") / len(ranked))
    assert no_less(found, coverage)
    assert no_less([-value for value in found], -(coverage + 1 / (images + 1)))


def test_the_plain_quantile_falls_short() -> None:
    """The test above can fail: without the image to come, 30 images cover 92 % where 95 % are guaranteed."""
    scores = true_scores()
    ranked = np.sort(scores)
    thresholds = [np.quantile(scores[rows_of(seed, 30)], 0.95, method="inverted_cdf") - 1e-12 for seed in range(DRAWS)]
    assert not no_less((np.searchsorted(ranked, thresholds, side="right") / len(ranked)).tolist(), 0.95)


def test_new_sets_hold_the_true_class() -> None:
    everything, labels, _ = gated()
    found = []
    for seed in range(DRAWS):
        rows = rows_of(seed, 300)
        old, new = rows[:200], rows[200:]
        threshold = conformal_quantile(nonconformity(everything[old], labels[old]), 0.9)
        sets = prediction_sets(everything[new], threshold)
        found.append(float(sets[np.arange(len(new)), labels[new]].mean()))
    assert no_less(found, 0.9)


def test_each_exit_keeps_its_own_promise() -> None:
    exits, scores = gated()[2], true_scores()
    at_exit = [np.sort(scores[exits == index]) for index in range(EXITS)]
    alone: list[list[float]] = [[] for _ in range(EXITS)]
    together: list[list[float]] = [[] for _ in range(EXITS)]
    for seed in range(DRAWS):
        rows = rows_of(seed, 400)
        quantiles = per_exit_quantiles(scores[rows], exits[rows], EXITS, 0.9)
        one = conformal_quantile(scores[rows], 0.9)
        for index, ranked in enumerate(at_exit):
            alone[index].append(np.searchsorted(ranked, quantiles[index], side="right") / len(ranked))
            together[index].append(np.searchsorted(ranked, one, side="right") / len(ranked))
    assert all(no_less(found, 0.9) for found in alone)
    assert not all(no_less(found, 0.9) for found in together)  # one for all leaves some exit short


def test_sets_of_the_easy_exit_are_smaller() -> None:
    everything, _, exits = gated()
    rows = rows_of(0, 4000)
    quantiles = per_exit_quantiles(true_scores()[rows], exits[rows], EXITS, 0.9)
    sets = prediction_sets(everything, quantiles[exits])
    sizes = [float(sets[exits == index].sum(axis=1).mean()) for index in range(EXITS)]
    assert 1 <= sizes[0] < sizes[-1] <= 5


@settings(deadline=None)  # the first import of MAPIE takes its time
@given(st.integers(1, 60), st.integers(1, 99), st.integers(0, 2**32 - 1))
@example(99, 55, 0)  # 100 · 0.55 is above 55 in binary
def test_the_quantile_is_mapies(images: int, percent: int, seed: int) -> None:
    scores_of = pytest.importorskip("mapie.conformity_scores", reason="a development dependency")
    scores, risk = np.random.default_rng(seed).random(images), 1 - percent / 100
    found = conformal_quantile(scores, percent / 100)
    rank = -(-(images + 1) * percent // 100)  # whole numbers: rounds up, and errs nowhere
    assert found == (np.sort(scores)[rank - 1] if rank <= images else ALL_CLASSES)
    if math.ceil((images + 1) * (1 - risk)) == rank <= images:  # mapie's own rounding
        lac = scores_of.LACConformityScore()
        assert lac.get_conformity_score_quantiles(scores[:, None], np.array([risk]), "prefit") == found


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9, 0.97])
def test_the_sets_are_mapies(threshold: float) -> None:
    scores_of = pytest.importorskip("mapie.conformity_scores", reason="a development dependency")
    everything = gated()[0][:500]
    method: Any = scores_of.LACConformityScore()
    method.quantiles_ = np.array([threshold])
    theirs = method.get_prediction_sets(everything[:, :, None], np.zeros(500), np.array([0.1]), cv="prefit")[:, :, 0]
    theirs[np.arange(500), everything.argmax(axis=1)] = True
    assert np.array_equal(prediction_sets(everything, threshold), theirs)


@given(st.integers(1, 12), st.integers(2, 6), st.floats(0, 1.1), st.data())
def test_sets_are_never_empty_and_grow_with_the_quantile(
    images: int, classes: int, quantile: float, data: st.DataObject
) -> None:
    logits = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).integers(-3, 4, (images, classes))  # ties
    found = softmax(logits.astype(np.float32))
    sets, larger = prediction_sets(found, quantile), prediction_sets(found, quantile + 0.2)
    assert sets[np.arange(images), found.argmax(axis=1)].all()
    assert (sets <= larger).all()
    assert prediction_sets(found, ALL_CLASSES).all()
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images)))
    own = nonconformity(found, labels)
    assert (~(own <= quantile) | sets[np.arange(images), labels]).all()  # a familiar class is never left out


def test_an_image_gets_the_same_set_alone_and_among_others() -> None:
    everything, exits = gated()[0][:50], gated()[2][:50]
    quantiles = np.array([0.3, 0.6, 0.9, ALL_CLASSES])
    sets = prediction_sets(everything, quantiles[exits])
    for row, exit_index in enumerate(exits):
        assert np.array_equal(
            prediction_sets(everything[row : row + 1], float(quantiles[exit_index])), sets[row : row + 1]
        )


def test_scores_by_hand() -> None:
    found = np.array([[0.5, 0.125, 0.375], [0.25, 0.5, 0.25]])
    assert nonconformity(found, np.array([1, 0])).tolist() == [0.875, 0.75]


def test_what_is_no_number_excludes_no_class() -> None:
    assert prediction_sets(np.full((1, 3), np.nan), 0.5).tolist() == [[True, True, True]]


@given(st.floats(0.01, 0.9999))
def test_as_few_images_as_needed(coverage: float) -> None:
    needed = images_needed(coverage)
    assert conformal_quantile(np.zeros(needed), coverage) == 0
    assert conformal_quantile(np.zeros(needed - 1), coverage) == ALL_CLASSES


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_round_coverages_need_round_numbers(coverage: float, needed: int) -> None:
    assert images_needed(coverage) == needed


def test_an_exit_with_too_few_images_keeps_all_classes() -> None:
    scores, exits = np.linspace(0, 1, 21), np.array([0] * 12 + [2] * 9)
    quantiles = per_exit_quantiles(scores, exits, 4, 0.9)
    assert quantiles.tolist() == [scores[11], ALL_CLASSES, scores[20], ALL_CLASSES]
    assert per_exit_quantiles(scores[:20], exits[:20], 4, 0.9)[2] == ALL_CLASSES


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_told(value: float) -> None:
    with pytest.raises(CalibrationError, match="scores of the calibration images are not numbers"):
        conformal_quantile(np.array([0.1, value]), 0.5)


def test_labels_that_are_no_classes_are_told() -> None:
    with pytest.raises(CalibrationError, match="need a label each, from 0 to 2"):
        nonconformity(np.full((2, 3), 1 / 3), np.array([0, 3]))
