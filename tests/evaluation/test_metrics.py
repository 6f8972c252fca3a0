from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from gfnet_dynn.evaluation.evaluation import class_scores, confusion_matrix, macro_f1

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 1, 0])


def test_scores_by_hand() -> None:
    confusion = confusion_matrix(LABELS, PREDICTIONS, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    scores = class_scores(confusion)
    assert scores.precision.tolist() == pytest.approx([2 / 3, 2 / 3, 0, 0])
    assert scores.recall.tolist() == pytest.approx([2 / 3, 1, 0, 0])
    assert scores.f1.tolist() == pytest.approx([2 / 3, 0.8, 0, 0])
    assert scores.support.tolist() == [3, 2, 1, 0]
    assert macro_f1(confusion) == pytest.approx((2 / 3 + 0.8 + 0) / 3)  # the fourth class occurs nowhere


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_all_scores_are_those_of_torchmetrics(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 6))
    class_index = st.integers(0, classes - 1)
    pairs = data.draw(st.lists(st.tuples(class_index, class_index), min_size=1, max_size=40))
    labels, predictions = np.array(pairs).T
    given_to_both = (torch.from_numpy(predictions.copy()), torch.from_numpy(labels.copy()), classes)

    confusion = confusion_matrix(labels, predictions, classes)
    np.testing.assert_array_equal(confusion, multiclass_confusion_matrix(*given_to_both).numpy())
    assert macro_f1(confusion) == pytest.approx(multiclass_f1_score(*given_to_both, average="macro").item())
    scores = class_scores(confusion)
    for ours, theirs in (
        (scores.precision, multiclass_precision(*given_to_both, average="none")),
        (scores.recall, multiclass_recall(*given_to_both, average="none")),
        (scores.f1, multiclass_f1_score(*given_to_both, average="none")),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(scores.support, np.bincount(labels, minlength=classes))
