from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gfnet_dynn.calibration.fitting import SCALED, fit
from gfnet_dynn.exits import SCORES, UNFITTED, ExitArrays, Score, by_score, max_probability, softmax
from gfnet_dynn.uncertainty.reliability import fit_temperature

CLASSES, GATES = 4, 2


def overconfident(images: int, seed: int) -> ExitArrays:
    """Labels drawn from the softmax of the logits, which exit `n` then makes n + 2 times as large as they should be."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(0, 1.5, (images, 1, CLASSES))
    labels = (softmax(honest[:, 0]).cumsum(axis=1) < generator.random((images, 1))).sum(axis=1)
    logits = honest * np.arange(2, GATES + 3)[None, :, None]
    return ExitArrays(logits.astype(np.float32), np.full((images, GATES), 0.5, np.float32), labels)


@pytest.mark.parametrize("score", [each for each in SCORES if each not in SCALED])
def test_gates_and_patience_need_nothing(score: Score) -> None:
    assert score in ("gate", "patience")
    assert fit(overconfident(50, 0), score) == UNFITTED


@pytest.mark.parametrize("score", sorted(SCALED))
def test_each_way_out_gets_a_temperature_of_its_own(score: Score) -> None:
    arrays = overconfident(4000, 0)
    found = fit(arrays, score).temperatures
    assert found == tuple(fit_temperature(arrays.logits[:, index], arrays.labels) for index in range(GATES + 1))
    assert found == pytest.approx((2, 3, 4), rel=0.1)


@pytest.mark.parametrize("score", SCORES)
def test_only_neighbours_get_tables_one_for_each_early_exit(score: Score) -> None:
    assert len(fit(overconfident(300, 0), score).tables) == (GATES if score == "neighbours" else 0)


def test_a_table_says_how_often_images_are_right() -> None:
    fitted, fresh = fit(overconfident(6000, 0), "neighbours"), overconfident(20_000, 1)
    said = by_score(fresh, "neighbours", fitted).gates
    for index in range(GATES):
        for value in np.unique(said[:, index]):
            those = said[:, index] == value
            spread = 4 * np.sqrt(0.25 / those.sum()) + 4 * np.sqrt(0.25 / 600)  # of the judged and of the fitted images
            assert fresh.correct[those, index].mean() == pytest.approx(value, abs=spread)
        assert np.ptp(said[:, index]) > 0.3


@pytest.mark.parametrize(("images", "bins"), [(1, 1), (29, 1), (30, 2), (60, 4), (149, 9), (150, 10), (5000, 10)])
def test_bins_hold_equally_many_images_and_never_few(images: int, bins: int) -> None:
    arrays = overconfident(images, 3)
    fitted = fit(arrays, "neighbours")
    for index, table in enumerate(fitted.tables):
        assert len(table.accuracies) == len(table.edges) + 1 == bins
        assert list(table.edges) == sorted(set(table.edges))
        confidences = max_probability(fitted.scaled(index, arrays.logits[:, index]))
        counts = np.histogram(confidences, [-np.inf, *table.edges, np.inf])[0]
        assert counts.max() - counts.min() <= 2
        assert counts.min() >= 15 or bins == 1


@pytest.mark.parametrize("images", [1, 40, 200])
def test_more_confidence_is_never_worth_less_and_nothing_is_certain(images: int) -> None:
    for table in fit(overconfident(images, 1), "neighbours").tables:
        assert all(left <= right for left, right in pairwise(table.accuracies))
        assert all(0 < value < 1 for value in table.accuracies)


def test_a_confidence_on_an_edge_is_looked_up_as_it_was_counted() -> None:
    arrays = overconfident(900, 5)
    fitted = fit(arrays, "neighbours")
    said = by_score(arrays, "neighbours", fitted).gates
    for index, table in enumerate(fitted.tables):
        hits = [arrays.correct[said[:, index] == np.float32(value), index] for value in sorted(set(table.accuracies))]
        assert sum(map(len, hits)) == 900
        # Where bins were not merged, the value is what was counted: half an image right and half wrong beside them.
        counted = [(each.sum() + 0.5) / (len(each) + 1) for each in hits if 85 <= len(each) <= 95]
        assert set(counted) <= set(table.accuracies)
        assert len(counted) >= 5


def test_equal_confidences_fall_into_one_bin() -> None:
    arrays = overconfident(200, 0)
    same = ExitArrays(np.repeat(arrays.logits[:1], 200, axis=0), arrays.gates, arrays.labels)
    said = by_score(same, "neighbours", fit(same, "neighbours")).gates
    for index in range(GATES):
        (value,) = np.unique(said[:, index])
        assert value == pytest.approx((same.correct[:, index].sum() + 0.5) / 201)


@pytest.mark.parametrize("ties", [20, 60, 100, 190])
def test_many_equal_confidences_below_do_not_lift_those_above(ties: int) -> None:
    """Most of the unsure images are wrong: no bin may say that half of them are right because nothing lies in it."""
    sure = np.concatenate((np.zeros(ties), np.linspace(0.5, 1, 200 - ties)))
    logits = np.zeros((200, 2, 2), np.float32)
    logits[:, :, 0] = sure[:, None]
    labels = np.where(np.arange(200) % 10, 1, 0)  # class 0 is named, nine of ten images are of class 1
    arrays = ExitArrays(logits, np.zeros((200, 1), np.float32), labels)
    (table,) = fit(arrays, "neighbours").tables
    assert max(table.accuracies) < 0.3
    assert len(table.accuracies) == len(table.edges) + 1


def test_images_of_which_all_are_right_give_numbers() -> None:
    arrays = overconfident(40, 0)
    perfect = ExitArrays(arrays.logits, arrays.gates, arrays.predictions[:, 0])
    fitted = fit(perfect, "neighbours")
    assert all(0 < value < np.inf for value in fitted.temperatures)
    assert np.isfinite(by_score(perfect, "neighbours", fitted).gates).all()
