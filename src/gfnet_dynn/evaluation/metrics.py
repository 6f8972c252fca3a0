"""Scores of predictions against labels, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, [K] each; 0 where a ratio has nothing to divide by, as is usual.

    Attributes:
        precision: of the images predicted as the class, the share that is.
        recall: of the class's images, the share predicted so.
        f1: harmonic mean of both.
        support: images of the class.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]


def confusion_matrix(
    labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.int64]:
    """Counts [K, K]: rows are true classes, columns predicted ones.

    Args:
        labels: [N].
        predictions: [N].
        num_classes: K.
    """
    pairs = labels.astype(np.int64) * num_classes + predictions.astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(confusion: npt.NDArray[np.int64]) -> ClassScores:
    """Precision, recall and F1 of each class from a confusion matrix [K, K]."""
    right = np.diag(confusion).astype(np.float64)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(predicted + support, 1)
    return ClassScores(precision, recall, f1, support)


def macro_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Unweighted mean of the F1 of the classes that occur, in labels or predictions."""
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return float(class_scores(confusion).f1[occurs].mean())
