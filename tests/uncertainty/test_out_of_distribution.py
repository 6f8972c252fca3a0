from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import first_exit
from gfnet_dynn.uncertainty.conformal import (
    NEVER_UNKNOWN,
    familiarity,
    is_unknown,
    unknown_distance,
    unknown_thresholds,
)
from tests.exits.populations import make_population

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

EXITS = 4
DRAWS = 500
GROWTH = np.array([1.0, 2.0, 3.0, 4.0])  # each exit has its own scale


def threshold_of(familiar: Floats, false_alarms: float) -> float:
    """Of a network with one exit."""
    return float(unknown_thresholds(familiar, np.zeros(len(familiar), np.intp), 1, false_alarms)[0])


@cache
def gated() -> tuple[Floats, Ints]:
    """Familiarity [N] at the exit taken and exits [N] of all images there are; no two alike."""
    population = make_population().arrays
    exits = first_exit(population.gates, 0.6)
    logits = population.logits[np.arange(len(exits)), exits] * GROWTH[exits, None]
    return familiarity(logits + np.random.default_rng(7).normal(0, 1, logits.shape)), exits


def rows_of(seed: int, images: int) -> Ints:
    return np.random.default_rng([4, seed]).integers(0, len(gated()[1]), images)


def no_more(values: list[float], guaranteed: float) -> bool:
    return float(np.mean(values)) <= guaranteed + 3 * float(np.std(values)) / math.sqrt(len(values))


@pytest.mark.parametrize(("images", "false_alarms"), [(50, 0.05), (300, 0.01), (300, 0.2)])
def test_false_alarms_are_as_rare_as_promised_and_hardly_rarer(images: int, false_alarms: float) -> None:
    familiar, _ = gated()
    found = []
    for seed in range(DRAWS):
        threshold = threshold_of(familiar[rows_of(seed, images)], false_alarms)
        found.append(float(is_unknown(familiar, threshold).mean()))
    assert no_more(found, false_alarms)
    assert no_more([-value for value in found], -(false_alarms - 1 / (images + 1)))


def test_the_next_familiarity_would_alarm_too_often() -> None:
    """The test above can fail: it tells one rank from the next."""
    familiar, _ = gated()
    ranks = [np.sort(familiar[rows_of(seed, 59)])[3] for seed in range(DRAWS)]  # the third is right for 1 in 20
    assert not no_more([float((familiar < threshold).mean()) for threshold in ranks], 0.05)


def test_each_exit_keeps_its_own_promise() -> None:
    familiar, exits = gated()
    alone: list[list[float]] = [[] for _ in range(EXITS)]
    together: list[list[float]] = [[] for _ in range(EXITS)]
    for seed in range(DRAWS):
        rows = rows_of(seed, 400)
        thresholds = unknown_thresholds(familiar[rows], exits[rows], EXITS, 0.1)
        own = is_unknown(familiar, thresholds[exits])
        one = is_unknown(familiar, threshold_of(familiar[rows], 0.1))
        for index in range(EXITS):
            alone[index].append(float(own[exits == index].mean()))
            together[index].append(float(one[exits == index].mean()))
    assert all(no_more(found, 0.1) for found in alone)
    assert not all(no_more(found, 0.1) for found in together)  # one for all accuses the exits with small logits


def test_images_unlike_the_others_raise_the_alarm() -> None:
    """Logits that favour no class."""
    generator = np.random.default_rng(0)
    known = generator.normal(0, 1, (1000, 10))
    known[np.arange(1000), generator.integers(0, 10, 1000)] += 8
    threshold = threshold_of(familiarity(known), 0.05)
    strange = familiarity(generator.normal(0, 1, (1000, 10)))
    assert is_unknown(strange, threshold).mean() > 0.95


def test_one_image_is_called_unknown_below_the_threshold_only() -> None:
    familiar = np.arange(1.0, 100.0)
    assert threshold_of(familiar, 0.05) == 5
    assert is_unknown(np.array([4.9, 5.0, 5.1]), 5.0).tolist() == [True, False, False]


@given(st.integers(1, 200), st.integers(1, 99), st.integers(0, 2**32 - 1))
def test_the_threshold_is_the_rank_promised(images: int, percent: int, seed: int) -> None:
    familiar = np.random.default_rng(seed).normal(0, 5, images)
    rank = (images + 1) * percent // 100
    expected = np.sort(familiar)[rank - 1] if rank else NEVER_UNKNOWN
    assert threshold_of(familiar, percent / 100) == expected


@settings(deadline=None)  # the first import of SciPy takes its time
@given(arrays.arrays(np.float32, (3, 2, 4), elements=st.floats(-1e4, 1e4, width=32)))
def test_energy_is_scipys_logsumexp(logits: npt.NDArray[np.float32]) -> None:
    special = pytest.importorskip("scipy.special", reason="a development dependency")
    found = familiarity(logits)
    assert found.dtype == np.float64
    assert np.allclose(found, special.logsumexp(logits.astype(np.float64), axis=-1))


def test_huge_logits_do_not_overflow() -> None:
    assert familiarity(np.full(4, 3e38, np.float32)) == pytest.approx(3e38, rel=1e-6)


def test_too_few_images_never_raise_an_alarm() -> None:
    familiar = np.arange(40.0)
    assert threshold_of(familiar[:18], 0.05) == NEVER_UNKNOWN
    assert threshold_of(familiar[:19], 0.05) == 0
    assert unknown_thresholds(familiar, np.repeat([0, 2], (21, 19)), 3, 0.05).tolist() == [0, NEVER_UNKNOWN, 21]
    assert not is_unknown(np.array([-1e300]), NEVER_UNKNOWN).any()


def test_what_is_no_number_is_unknown() -> None:
    broken = familiarity(np.array([[0.0, np.nan], [0.0, 1.0]]))
    assert is_unknown(broken, NEVER_UNKNOWN).tolist() == [True, False]
    assert is_unknown(broken, np.array([0.5, 0.5])).tolist() == [True, False]


def test_the_familiarity_of_calibration_images_must_be_a_number() -> None:
    with pytest.raises(CalibrationError, match="not numbers"):
        threshold_of(np.array([0.0, np.nan]), 0.5)


@pytest.mark.parametrize(("images", "false_alarms"), [(50, 0.05), (300, 0.01)])
def test_distances_alarm_as_rarely_as_promised(images: int, false_alarms: float) -> None:
    far = -gated()[0]
    found = [float((far > unknown_distance(far[rows_of(seed, images)], false_alarms)).mean()) for seed in range(DRAWS)]
    assert no_more(found, false_alarms)
    assert no_more([-value for value in found], -(false_alarms - 1 / (images + 1)))


def test_too_few_distances_make_none_too_far() -> None:
    assert unknown_distance(np.arange(38.0), 0.025) == math.inf
    assert unknown_distance(np.arange(39.0), 0.025) == 38
