from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.risk import exits_over, losses_over, risk_of
from gfnet_dynn.exits.rule import NEVER, first_exit

# Four images, two classes, one exit and the final classifier: right at both, harmed, helped, wrong at both.
SAID = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
ARRAYS = ExitArrays(np.eye(2, dtype=np.float32)[SAID] * 2, np.full((4, 1), 0.5, np.float32), np.array([0, 0, 0, 0]))


def test_risks_by_hand() -> None:
    assert risk_of(ARRAYS, "drop").losses.tolist() == [[0, 0], [1, 0], [-1, 0], [0, 0]]
    assert risk_of(ARRAYS, "harm").losses.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    assert risk_of(ARRAYS, "error").losses.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert risk_of(ARRAYS, "disagreement").losses.tolist() == [[0, 0], [1, 0], [1, 0], [0, 0]]
    sure = np.exp(2) / (1 + np.exp(2))
    brier = risk_of(ARRAYS, "brier").losses
    assert brier[0, 0] == pytest.approx(2 * (1 - sure) ** 2)
    assert brier[1, 0] == pytest.approx(2 * sure**2)


def test_the_mean_drop_is_the_difference_of_accuracies() -> None:
    generator = np.random.default_rng(0)
    arrays = ExitArrays(
        generator.normal(size=(200, 3, 4)).astype(np.float32),
        generator.random((200, 2)).astype(np.float32),
        generator.integers(0, 4, 200),
    )
    grid = np.array([NEVER, 0.7, 0.3, 0.0])
    exits = exits_over(arrays.gates, grid)
    accuracy = np.take_along_axis(arrays.correct, exits.astype(np.intp), axis=1).mean(axis=0)
    drop = losses_over(risk_of(arrays, "drop"), exits).mean(axis=0)
    assert np.allclose(drop, accuracy[0] - accuracy)
    assert np.ptp(drop) > 0


def test_exits_for_all_thresholds_at_once_are_those_of_the_rule() -> None:
    gates = np.random.default_rng(1).random((300, 3)).astype(np.float32)
    gates[0, 0] = np.nan
    gates[1] = 0.5
    grid = np.array([NEVER, 1.0, 0.7, 0.5, 0.1, 0.0])
    together = exits_over(gates, grid)
    for column, threshold in enumerate(grid):
        assert together[:, column].tolist() == first_exit(gates, float(threshold)).tolist()
