from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.guarantees.risk import risk_of

# Four images, two classes, one exit and the final classifier: right at both, harmed, helped, wrong at both.
SAID = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
ARRAYS = ExitArrays(np.eye(2, dtype=np.float32)[SAID] * 2, np.full((4, 1), 0.5, np.float32), np.array([0, 0, 0, 0]))


def test_risks_by_hand() -> None:
    assert risk_of(ARRAYS, "accuracy-drop").losses.tolist() == [[0, 0], [1, 0], [-1, 0], [0, 0]]
    assert risk_of(ARRAYS, "harmful-exits").losses.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    assert risk_of(ARRAYS, "error").losses.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert risk_of(ARRAYS, "disagreement").losses.tolist() == [[0, 0], [1, 0], [1, 0], [0, 0]]
    sure = np.exp(2) / (1 + np.exp(2))
    brier = risk_of(ARRAYS, "brier").losses
    assert brier[0, 0] == pytest.approx(2 * (1 - sure) ** 2)
    assert brier[1, 0] == pytest.approx(2 * sure**2)


def test_risks_of_a_precision_are_against_the_reference() -> None:
    """Its own final exit is wrong on the first image and correct on the third, where fp32's is not."""
    predicted = np.array([[0, 1], [1, 0], [0, 0], [1, 1]])
    int8 = ExitArrays(np.eye(2, dtype=np.float32)[predicted] * 2, ARRAYS.gates, ARRAYS.labels)
    assert risk_of(int8, "accuracy-drop", ARRAYS).losses.tolist() == [[0, 1], [1, 0], [-1, -1], [0, 0]]
    assert risk_of(int8, "harmful-exits", ARRAYS).losses.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert risk_of(int8, "disagreement", ARRAYS).losses.tolist() == [[0, 1], [1, 0], [1, 1], [0, 0]]
    assert risk_of(int8, "error", ARRAYS).losses.tolist() == risk_of(int8, "error").losses.tolist()


def test_brier_runs_from_none_to_two() -> None:
    sure = np.array([[[1e3, 0.0, 0.0]]] * 3, np.float32)
    arrays = ExitArrays(sure, np.zeros((3, 0), np.float32), np.arange(3))
    assert risk_of(arrays, "brier").losses.tolist() == [[0.0], [2.0], [2.0]]
