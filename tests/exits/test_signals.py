from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.signals import by_max_probability


def test_the_largest_probability_takes_the_place_of_each_gate() -> None:
    probabilities = np.array([[[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]]])
    arrays = ExitArrays(np.log(probabilities).astype(np.float32) + 100, np.zeros((1, 2), np.float32), np.array([2]))
    signal = by_max_probability(arrays)
    assert signal.gates[0].tolist() == pytest.approx([0.7, 0.5], rel=1e-5)
    assert signal.gates.dtype == np.float32
    assert signal.logits is arrays.logits


def test_huge_logits_do_not_overflow() -> None:
    arrays = ExitArrays(np.full((1, 2, 4), 3e38, np.float32), np.zeros((1, 1), np.float32), np.array([0]))
    assert by_max_probability(arrays).gates.tolist() == [[0.25]]
