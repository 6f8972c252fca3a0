from __future__ import annotations

import numpy as np
import pytest

from gfnet_dynn.exits import ExitArrays

LOGITS = np.array([[[1, 0, 0], [0, 0, 5]], [[0, 2, 1], [0, 1, 3]]], np.float32)
GATES = np.array([[0.2], [0.8]], np.float32)
LABELS = np.array([2, 1])


def test_predictions_and_what_is_right() -> None:
    arrays = ExitArrays(LOGITS, GATES, LABELS)
    assert arrays.predictions.tolist() == [[0, 2], [1, 2]]
    assert arrays.correct.tolist() == [[False, True], [True, False]]


def test_a_network_without_early_exits_has_one_column() -> None:
    arrays = ExitArrays(LOGITS[:, 1:], np.zeros((2, 0), np.float32), LABELS)
    assert arrays.correct.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    ("gates", "labels"),
    [
        (GATES[:1], LABELS),
        (np.zeros((2, 2), np.float32), LABELS),
        (GATES[:, 0], LABELS),
        (GATES, LABELS[:1]),
        (GATES, LABELS[:, None]),
    ],
)
def test_shapes_must_agree(gates: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shapes disagree"):
        ExitArrays(LOGITS, gates, labels)
