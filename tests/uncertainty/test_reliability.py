from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import softmax
from gfnet_dynn.uncertainty.reliability import (
    COLDEST,
    HOTTEST,
    equal_mass_error,
    fit_temperature,
    of_label,
    reliability_bins,
)

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

DRAWS = 500


def labelled(images: int, classes: int, seed: int) -> tuple[Floats, Labels]:
    """Logits and labels drawn from their softmax: calibrated as they are."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (images, classes))
    return logits, (softmax(logits).cumsum(axis=1) < generator.random((images, 1))).sum(axis=1)


def judged(images: int, seed: int, overconfidence: float = 0.0) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Confidences, and whether the class is right: as often as they say, less the overconfidence."""
    generator = np.random.default_rng(seed)
    confidences = generator.uniform(0.4, 1, images)
    return confidences, generator.random(images) < confidences - overconfidence


@settings(deadline=None)  # the first import of SciPy takes its time
@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_probabilities_are_the_softmax(logits: npt.NDArray[np.float32]) -> None:
    special = pytest.importorskip("scipy.special", reason="a development dependency")
    found = softmax(logits)
    assert found.dtype == np.float64
    assert np.allclose(found, special.softmax(logits.astype(np.float64), axis=-1), atol=1e-12)


def test_huge_logits_do_not_overflow() -> None:
    assert softmax(np.full((2, 4), 3e38, np.float32)).tolist() == [[0.25] * 4] * 2


def test_bins_hold_equally_many_images() -> None:
    confidences, right = judged(1007, 0)
    bins = reliability_bins(confidences, right, 15)
    assert sorted({each.count for each in bins}) == [67, 68]
    assert sum(each.count for each in bins) == 1007
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    assert sum(each.count * each.accuracy for each in bins) == pytest.approx(right.sum())


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_order_of_the_images_does_not_matter(count: int, bins: int, seed: int) -> None:
    """Of many images a network is equally sure, and files come sorted by class."""
    generator = np.random.default_rng(seed)
    confidences, right = generator.integers(0, 5, count) / 4, generator.random(count) < 0.5
    order = generator.permutation(count)
    found = reliability_bins(confidences, right, bins)
    again = reliability_bins(confidences[order], right[order], bins)
    assert found == again
    assert sum(each.count * each.accuracy for each in found) == pytest.approx(right.sum())
    assert len(found) == min(bins, count)
    assert max(each.count for each in found) - min(each.count for each in found) <= 1


def test_the_error_is_that_of_sorted_slices() -> None:
    confidences, right = judged(600, 1, overconfidence=0.1)
    order = np.argsort(confidences)
    slices = zip(np.split(confidences[order], 10), np.split(right[order], 10), strict=True)
    expected = np.mean([abs(sure.mean() - good.mean()) for sure, good in slices])
    assert equal_mass_error(confidences, right, 10) == pytest.approx(expected)


def test_bins_are_those_of_scikit_learn() -> None:
    """Where all are equally large its quantiles lie between two images, and so are the limits here."""
    calibration = pytest.importorskip("sklearn.calibration", reason="a development dependency")
    confidences, right = judged(600, 2)
    accuracies, means = calibration.calibration_curve(right, confidences, n_bins=12, strategy="quantile")
    bins = reliability_bins(confidences, right, 12)
    assert [each.accuracy for each in bins] == pytest.approx(accuracies.tolist())
    assert [each.confidence for each in bins] == pytest.approx(means.tolist())


def test_overconfidence_is_its_size() -> None:
    confidences, right = judged(200_000, 3, overconfidence=0.15)
    assert equal_mass_error(confidences, right) == pytest.approx(0.15, abs=0.005)
    assert equal_mass_error(*judged(200_000, 3)) < 0.01


def test_the_standard_error_is_the_spread_of_the_accuracy() -> None:
    """Bins of draws that differ in nothing but luck."""
    confidences = np.full(90, 0.8)
    draws = [reliability_bins(confidences, np.random.default_rng(seed).random(90) < 0.8, 1)[0] for seed in range(DRAWS)]
    spread = np.std([each.accuracy for each in draws])
    assert np.mean([each.standard_error for each in draws]) == pytest.approx(spread, rel=0.1)


def test_all_right_and_sure_is_no_error() -> None:
    sure, right = np.ones(40, np.float32), np.ones(40, bool)
    assert equal_mass_error(sure, right) == 0
    assert equal_mass_error(sure, ~right) == 1
    assert {each.standard_error for each in reliability_bins(sure, right)} == {0.0}


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_of_the_labels_is_found(temperature: float) -> None:
    logits, labels = labelled(20_000, 8, 0)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_no_other_temperature_is_likelier(images: int, classes: int, scale: float, seed: int) -> None:
    logits, labels = labelled(images, classes, seed)
    logits *= scale

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        largest = scaled.max(axis=1)
        likelihoods = np.log(np.exp(scaled - largest[:, None]).sum(axis=1)) + largest
        return float((likelihoods - of_label(scaled, labels)).mean())

    found = fit_temperature(logits, labels)
    assert COLDEST <= found <= HOTTEST
    others = np.geomspace(COLDEST, HOTTEST, 60)
    assert loss(found) <= min(map(loss, others)) * (1 + 1e-12) + 1e-12


def test_the_temperature_is_scipys() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="a development dependency")
    logits, labels = labelled(300, 5, 1)

    def loss(log_temperature: float) -> float:
        return float(-np.log(of_label(softmax(3 * logits / np.exp(log_temperature)), labels)).mean())

    expected = optimize.minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    assert fit_temperature(3 * logits, labels) == pytest.approx(np.exp(expected.x), rel=1e-3)


def test_a_temperature_makes_confidences_reliable() -> None:
    logits, labels = labelled(6000, 8, 2)
    logits *= 3

    def error(temperature: float) -> float:
        found = softmax(logits[3000:] / temperature)
        return equal_mass_error(found.max(axis=1), found.argmax(axis=1) == labels[3000:])

    assert error(1.0) > 0.15
    assert error(fit_temperature(logits[:3000], labels[:3000])) < 0.04


def test_the_bounds_are_given_where_the_likelihood_grows_on() -> None:
    logits = np.eye(4) * 5
    assert fit_temperature(logits, np.arange(4)) == COLDEST
    assert fit_temperature(logits, np.array([1, 2, 3, 0])) == HOTTEST
    assert fit_temperature(np.array([[3e38, 0, -3e38]], np.float32), np.array([0])) == COLDEST


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0]])
def test_labels_that_are_no_classes_are_told(labels: list[int]) -> None:
    with pytest.raises(CalibrationError, match="2 images of 3 classes need a label each, from 0 to 2"):
        fit_temperature(np.zeros((2, 3)), np.array(labels))


def test_logits_that_are_no_numbers_are_told() -> None:
    with pytest.raises(CalibrationError, match="check the network"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))
    with pytest.raises(CalibrationError, match="of 0 images"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
