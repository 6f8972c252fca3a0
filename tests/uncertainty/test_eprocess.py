from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gfnet_dynn.errors import CalibrationError, OptionError
from gfnet_dynn.uncertainty.drift import BINS, Observations, Reference, reference_of
from gfnet_dynn.uncertainty.eprocess import LEAST_LEVEL, LiveShiftTest, RankPool

EXITS = 3
SHARES = np.array([0.5, 0.2, 0.3])  # of the exits
CENTRES = np.array([16.0, 14.0, 13.0])  # bins, around which each exit's confidences lie

Shares = npt.NDArray[np.float64]  # of the images by exit and bin, [EXITS, BINS]


def population(shares: npt.ArrayLike = SHARES, lower: float = 0.0, width: float = 2.0) -> Shares:
    """All images there are; `lower` by so many bins of confidence, within `width` bins."""
    away = np.arange(BINS) - (CENTRES[:, None] - lower)
    within = np.exp(-0.5 * (away / width) ** 2)
    return np.asarray(np.asarray(shares)[:, None] * within / within.sum(axis=1, keepdims=True))


USUAL = population()
CHANGES = {
    "later exits": population([0.2, 0.2, 0.6]),
    "earlier exits": population([0.8, 0.1, 0.1]),
    "the middle exit": population([0.1, 0.8, 0.1]),
    "lower confidence": population(lower=2),
    "higher confidence": population(lower=-2),
    "spread confidence": population(width=5),
}


def images(of: Shares, count: int, generator: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Exits and confidences of images that are drawn independently."""
    cells = generator.choice(of.size, count, p=of.ravel())
    within = generator.random(count)
    for cell, part in zip(cells.tolist(), within.tolist(), strict=True):
        yield cell // BINS, (cell % BINS + part) / BINS


def reference(count: int, generator: np.random.Generator) -> Reference:
    """Of images that are drawn anew, as each calibration draws them."""
    histogram = generator.multinomial(count, USUAL.ravel()).reshape(EXITS, BINS)
    return Reference(tuple(tuple(row) for row in histogram.tolist()), (count,))


def watched(seed: int, old: int, *live: tuple[Shares, int], level: float = 0.01) -> LiveShiftTest:
    """A test that has seen parts of a stream, one after the other."""
    generator = np.random.default_rng([11, seed])
    test = LiveShiftTest(reference(old, generator), level, seed)
    for of, count in live:
        for exit_index, confidence in images(of, count, generator):
            test.observe(exit_index, confidence)
    return test


def ranks(old: int, live: int, streams: int, of: Shares = USUAL) -> npt.NDArray[np.float64]:
    """[streams, live, 2]; a new reference and new live images for each stream."""
    found = np.empty((streams, live, 2))
    for seed in range(streams):
        generator = np.random.default_rng([7, seed])
        pool = RankPool(reference(old, generator), seed)
        found[seed] = [pool.add(*image) for image in images(of, live, generator)]
    return found


def chi_square(uniform: npt.NDArray[np.float64], bins: int = 4) -> float:
    """Of vectors, [N, D], against independent uniform numbers, in standard deviations of the statistic."""
    cells = bins ** uniform.shape[1]
    numbers = np.ravel_multi_index(tuple((uniform.T * bins).astype(int)), (bins,) * uniform.shape[1])
    counts, expected = np.bincount(numbers, minlength=cells), len(uniform) / cells
    return float((((counts - expected) ** 2 / expected).sum() - (cells - 1)) / math.sqrt(2 * (cells - 1)))


@pytest.mark.parametrize("old", [1, 10, 100])
def test_ranks_are_uniform_and_independent_at_any_size_of_the_reference(old: int) -> None:
    found = ranks(old, 3, 3000)
    assert abs(chi_square(found.reshape(-1, 2))) < 4  # both of one image
    assert abs(chi_square(found[:, 1:, 0])) < 4  # of successive images
    assert abs(chi_square(found[:, 1:, 1])) < 4
    assert abs(chi_square(np.stack([found[:, 1, 1], found[:, 2, 0]], axis=1))) < 4


def test_ranks_of_other_images_are_not_uniform() -> None:
    """The test above can fail."""
    found = ranks(100, 3, 500, CHANGES["later exits"])
    assert chi_square(found.reshape(-1, 2)) > 10


@pytest.mark.parametrize("old", [1, 100])
def test_evidence_is_one_on_average_where_nothing_changes(old: int) -> None:
    found = np.array([watched(seed, old, (USUAL, 15)).evidence for seed in range(3000)])
    error = float(found.std() / math.sqrt(len(found)))
    assert error < 0.02
    assert abs(found.mean() - 1) < 4 * error


@pytest.mark.parametrize("old", [1, 30, 100, 1000])
def test_false_alarms_are_no_more_frequent_than_the_level(old: int) -> None:
    streams = 120
    largest = np.array([watched(seed, old, (USUAL, 250)).largest_evidence for seed in range(streams)])
    for level in (0.01, 0.05, 0.25):
        allowed = level + 2 * math.sqrt(level * (1 - level) / streams)
        assert (largest >= 1 / level).mean() <= allowed


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_is_detected(change: str) -> None:
    found = [watched(seed, 400, (USUAL, 100), (CHANGES[change], 400)) for seed in range(10)]
    assert sum(each.shift_detected for each in found) >= 9
    assert all(each.alarm_image is None or each.alarm_image > 100 for each in found)


def test_a_change_at_the_first_image_is_detected() -> None:
    assert all(watched(seed, 400, (CHANGES["later exits"], 150)).shift_detected for seed in range(10))


def test_a_long_time_without_a_change_costs_few_images() -> None:
    at_once, late = (
        np.median([delay(watched(seed, 400, (USUAL, quiet), (CHANGES["later exits"], 600))) for seed in range(9)])
        - quiet
        for quiet in (100, 4000)
    )
    assert at_once < late < 3 * at_once


def delay(test: LiveShiftTest) -> int:
    assert test.alarm_image is not None
    return test.alarm_image


def test_a_small_reference_gives_alarms_once_live_images_have_joined_it() -> None:
    assert not watched(0, 1, (CHANGES["later exits"], 200)).shift_detected
    assert watched(0, 1, (USUAL, 400), (CHANGES["later exits"], 200)).shift_detected


def test_the_alarm_is_at_the_first_image_with_enough_evidence_and_stays() -> None:
    generator = np.random.default_rng(3)
    test, course = LiveShiftTest(reference(300, generator), 0.05), []
    for of in (USUAL, CHANGES["later exits"], USUAL):
        for image in images(of, 300, generator):
            test.observe(*image)
            course.append(test.evidence)
    above = [number for number, evidence in enumerate(course, 1) if evidence >= test.alarm_at]
    assert test.alarm_at == 20
    assert test.alarm_image == above[0]
    assert 300 < above[0] < 600
    assert test.shift_detected
    assert test.largest_evidence == max(course)


def test_it_starts_without_evidence_or_alarm() -> None:
    test = LiveShiftTest(reference(50, np.random.default_rng(0)), 0.02)
    assert test.to_dict() == {
        "images": 0,
        "reference_images": 50,
        "evidence": 1.0,
        "largest_evidence": 1.0,
        "alarm_at": 50.0,
        "level": 0.02,
        "shift_detected": False,
        "alarm_image": None,
    }


def test_evidence_stays_a_number_however_clear_the_shift() -> None:
    other = np.zeros((EXITS, BINS))
    other[2, 0] = 1
    test = watched(0, 100_000, (other, 3000))
    assert json.loads(json.dumps(test.to_dict(), allow_nan=False))["images"] == 3000
    assert 1 / LEAST_LEVEL < test.evidence == test.largest_evidence


def test_its_size_does_not_grow() -> None:
    few, many = (len(pickle.dumps(watched(0, 100, (USUAL, count)))) for count in (300, 3000))
    assert many < few * 1.02


def test_the_seed_draws_the_ties() -> None:
    generator = np.random.default_rng(1)
    of, stream = reference(100, generator), list(images(USUAL, 50, generator))

    def evidence(seed: int) -> float:
        test = LiveShiftTest(of, seed=seed)
        for image in stream:
            test.observe(*image)
        return test.evidence

    assert evidence(1) == evidence(1) != evidence(2)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_confidences_are_binned_as_those_of_the_reference(kind: Any) -> None:
    """In another bin than its equals, an image would have the first or last rank."""
    for value in (*np.linspace(0, 1, BINS + 1), 0.5, np.nextafter(kind(0.95), kind(0))):
        confidence, count = kind(value), 20_000
        observed = Observations(np.zeros(count, int), np.full(count, confidence), np.zeros(count, int))
        ranked = RankPool(reference_of(observed, 1, 1)).add(0, confidence)
        assert 0.001 < ranked.less_confident < 0.999


@pytest.mark.parametrize("confidence", [math.nan, math.inf, -0.01, 1.01])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    refused(0, confidence, match="is not a number from 0 to 1")


@pytest.mark.parametrize("exit_index", [-1, EXITS])
def test_an_exit_that_the_reference_lacks_is_refused(exit_index: int) -> None:
    refused(exit_index, 0.5, match="none of the 3 exits")


def refused(exit_index: int, confidence: float, match: str) -> None:
    test, same = (watched(0, 100, (USUAL, 20)) for _ in range(2))
    with pytest.raises(CalibrationError, match=match):
        test.observe(exit_index, confidence)
    assert test.to_dict() == same.to_dict()
    for each in (test, same):
        each.observe(1, 0.7)
    assert test.to_dict() == same.to_dict()


@pytest.mark.parametrize("level", [0.0, -0.1, 1.0, LEAST_LEVEL / 2, math.nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(OptionError, match="level must be"):
        LiveShiftTest(reference(50, np.random.default_rng(0)), level)
