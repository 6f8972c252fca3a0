"""The interval of a paired accuracy difference: against published values, by symmetry and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.uncertainty.intervals import PairedDifference, paired_difference


def compare(gained: int, lost: int, count: int, confidence: float = 0.95) -> PairedDifference:
    fp32 = np.zeros(count, bool)
    int8 = np.zeros(count, bool)
    fp32[:lost] = True
    int8[lost : lost + gained] = True
    both = slice(gained + lost, None)
    fp32[both] = int8[both] = True
    return paired_difference(fp32, int8, confidence)


def test_counts_and_difference() -> None:
    found = compare(gained=2, lost=14, count=840)
    assert (found.gained, found.lost, found.n) == (2, 14, 840)
    assert found.difference == pytest.approx(-12 / 840)
    assert -0.03 < found.low < found.difference < found.high < 0  # int8 is certainly worse here
    assert "lost 14" in str(found)
    assert "n = 840" in str(found)


def test_networks_that_never_differ_leave_the_known_width() -> None:
    found, z2 = compare(0, 0, 840), 1.959964**2
    assert found.high == pytest.approx(z2 / (840 + z2), rel=1e-5)
    assert found.low == pytest.approx(-found.high)


def test_exchanging_the_networks_turns_the_interval() -> None:
    one, other = compare(3, 11, 200), compare(11, 3, 200)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


@pytest.mark.parametrize(("gained", "lost", "count"), [(0, 5, 5), (5, 0, 5), (0, 1, 1), (1, 0, 30), (400, 400, 800)])
def test_the_interval_encloses_the_difference(gained: int, lost: int, count: int) -> None:
    found = compare(gained, lost, count)
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert compare(gained, lost, count, 0.8).high <= found.high


@pytest.mark.parametrize(("gain", "loss"), [(0.02, 0.02), (0.0, 0.01), (0.005, 0.03)])
def test_the_interval_covers_the_true_difference_as_often_as_it_claims(gain: float, loss: float) -> None:
    generator, count, repeats = np.random.default_rng(0), 500, 2000
    counts = generator.multinomial(count, [gain, loss, 1 - gain - loss], size=repeats)
    distinct, times = np.unique(counts[:, :2], axis=0, return_counts=True)
    found = [compare(int(g), int(lost), count) for g, lost in distinct]
    covered = np.array([each.low <= gain - loss <= each.high for each in found])
    assert (covered * times).sum() / repeats > 0.93


@pytest.mark.parametrize("shapes", [(3, 4), (0, 0)])
def test_arrays_that_cannot_be_paired_are_refused(shapes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="same images"):
        paired_difference(np.ones(shapes[0], bool), np.ones(shapes[1], bool))
