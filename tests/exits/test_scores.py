from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gfnet_dynn.calibration.fitting import fit
from gfnet_dynn.exits import (
    SCORES,
    UNFITTED,
    AccuracyTable,
    ExitArrays,
    Fitted,
    Score,
    by_score,
    max_probability,
    score_at,
    softmax,
)

NO_GATE, NONE_EARLIER = np.zeros(1, np.float32), np.zeros((1, 0), np.intp)


def arrays_of(images: int, gates: int = 3, classes: int = 4, seed: int = 0) -> ExitArrays:
    generator = np.random.default_rng(seed)
    return ExitArrays(
        generator.normal(0, 2, (images, gates + 1, classes)).astype(np.float32),
        generator.random((images, gates)).astype(np.float32),
        generator.integers(0, classes, images),
    )


def saying(*probabilities: float) -> ExitArrays:
    """One image, and one exit with these probabilities."""
    logits = np.log(np.array(probabilities))[None, None].repeat(2, axis=1)
    return ExitArrays(logits.astype(np.float32), np.zeros((1, 1), np.float32), np.zeros(1, np.int64))


def test_the_largest_probability_takes_the_place_of_each_gate() -> None:
    probabilities = np.array([[[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]]])
    arrays = ExitArrays(np.log(probabilities).astype(np.float32) + 100, np.zeros((1, 2), np.float32), np.array([2]))
    score = by_score(arrays, "max-softmax")
    assert score.gates[0].tolist() == pytest.approx([0.7, 0.5], rel=1e-5)
    assert score.gates.dtype == np.float32
    assert score.logits is arrays.logits


def test_huge_logits_do_not_overflow() -> None:
    arrays = ExitArrays(np.full((1, 2, 4), 3e38, np.float32), np.zeros((1, 1), np.float32), np.array([0]))
    assert by_score(arrays, "max-softmax").gates.tolist() == [[0.25]]


@pytest.mark.parametrize(
    ("score", "value"),
    [
        ("max-softmax", 0.7),
        ("margin", 0.5),
        ("entropy", 1 + (0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3)),
        ("patience", 0.5),
    ],
)
def test_each_signal_by_hand(score: Score, value: float) -> None:
    found = by_score(saying(0.2, 0.7, 0.1), score).gates
    assert found.dtype == np.float32
    assert found[0, 0] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("score", ["max-softmax", "margin", "entropy"])
def test_a_temperature_warms_the_exit_that_it_is_of(score: Score) -> None:
    arrays = arrays_of(20, gates=2)
    warm = by_score(arrays, score, Fitted((2.0, 1.0, 1.0))).gates
    cold = by_score(arrays, score).gates
    np.testing.assert_array_equal(warm[:, 1], cold[:, 1])
    halved = replace(arrays, logits=arrays.logits / np.float32(2))
    np.testing.assert_array_equal(warm[:, 0], by_score(halved, score).gates[:, 0])
    assert (warm[:, 0] < cold[:, 0]).all()


def test_neighbours_look_their_confidence_up_edges_belonging_to_the_upper_bin() -> None:
    table = AccuracyTable((0.5, 0.75), (0.25, 0.6, 0.9))
    found = table.look_up(np.array([0.0, 0.4999, 0.5, 0.74, 0.75, 1.0], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0.25, 0.25, 0.6, 0.6, 0.9, 0.9], np.float32))
    fitted = Fitted((1.0, 1.0), (table,))
    assert by_score(saying(0.6, 0.3, 0.1), "neighbours", fitted).gates[0, 0] == np.float32(0.6)


@pytest.mark.parametrize(
    ("said", "streaks"),
    [
        ((0, 0, 0, 1), (1, 2, 3, 1)),
        ((0, 1, 1, 1), (1, 1, 2, 3)),
        ((0, 1, 0, 0), (1, 1, 1, 2)),
        ((1, 0, 1, 0), (1, 1, 1, 1)),
        ((1, 1, 0, 1), (1, 2, 1, 1)),
    ],
)
def test_patience_counts_exits_in_a_row_that_agree(said: tuple[int, ...], streaks: tuple[int, ...]) -> None:
    logits = np.eye(2, dtype=np.float32)[[*said, 0]][None]
    arrays = ExitArrays(logits, np.zeros((1, 4), np.float32), np.zeros(1, np.int64))
    np.testing.assert_allclose(by_score(arrays, "patience").gates[0], [n / (n + 1) for n in streaks])


@pytest.mark.parametrize("score", SCORES)
def test_a_signal_never_looks_ahead(score: Score) -> None:
    arrays = arrays_of(50)
    fitted = fit(arrays, score)
    for index in range(3):
        later = arrays.logits.copy()
        later[:, index + 1 :] = np.random.default_rng(9).normal(0, 9, later[:, index + 1 :].shape)
        changed = by_score(replace(arrays, logits=later), score, fitted).gates[:, : index + 1]
        np.testing.assert_array_equal(changed, by_score(arrays, score, fitted).gates[:, : index + 1])


@pytest.mark.parametrize("score", SCORES)
def test_a_signal_leaves_what_it_was_made_of_as_it_was(score: Score) -> None:
    arrays = arrays_of(20)
    before = arrays.logits.copy(), arrays.gates.copy()
    found = by_score(arrays, score, fit(arrays, score))
    np.testing.assert_array_equal(arrays.logits, before[0])
    np.testing.assert_array_equal(arrays.gates, before[1])
    assert (found.logits is arrays.logits, found.labels is arrays.labels) == (True, True)
    assert (score == "gate") == (found.gates is arrays.gates)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("spread", [0, 1e-6, 1, 50, 1e30])
def test_a_signal_is_a_number_from_0_to_1(score: Score, spread: float) -> None:
    for classes in range(2, 60):
        logits = np.random.default_rng(classes).normal(0, 1, (4, 2, classes)) * spread
        arrays = ExitArrays(logits.astype(np.float32), np.full((4, 1), 0.5, np.float32), np.zeros(4, np.int64))
        found = by_score(arrays, score, fit(arrays, score)).gates
        assert ((found >= 0) & (found <= 1)).all(), classes  # below 0, an image would stay at a threshold of 0


OF_PROBABILITIES: tuple[Score, ...] = ("entropy", "margin", "max-softmax")


@pytest.mark.parametrize("score", OF_PROBABILITIES)
def test_equal_probabilities_are_as_unsure_as_can_be(score: Score) -> None:
    for classes in range(2, 60):
        found = score_at(score, UNFITTED, 0, np.zeros((1, classes), np.float32), NO_GATE, NONE_EARLIER)
        assert found[0] == pytest.approx(1 / classes if score == "max-softmax" else 0, abs=1e-7)


@pytest.mark.parametrize("score", OF_PROBABILITIES)
def test_certainty_is_1_for_every_signal_of_probabilities(score: Score) -> None:
    sure = np.array([[1000.0, 0.0, -1000.0]], np.float32)
    assert score_at(score, UNFITTED, 0, sure, NO_GATE, NONE_EARLIER)[0] == 1


def test_the_largest_probability_is_that_of_the_softmax() -> None:
    logits = arrays_of(100).logits
    np.testing.assert_allclose(max_probability(logits), softmax(logits).max(axis=-1), rtol=1e-6)
    assert max_probability(logits).dtype == np.float32


@pytest.mark.parametrize("score", [each for each in SCORES if each not in ("gate", "patience")])
def test_logits_that_are_no_numbers_give_a_signal_that_lets_none_leave(score: Score) -> None:
    broken = np.array([[np.nan, 1.0, 0.0]], np.float32)
    fitted = Fitted((1.0, 1.0), (AccuracyTable((0.5,), (0.1, 0.9)),))
    found = score_at(score, fitted, 0, broken, NO_GATE, NONE_EARLIER)
    assert not (found >= 0).any()
