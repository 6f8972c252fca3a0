"""Calibration of confidences: of the images with a confidence of 80%, a calibrated network classifies 80% correctly.

Sources: Guo et al., On calibration of modern neural networks, arXiv 1706.04599 (the error, temperature); Nixon et al.,
Measuring calibration in deep learning, arXiv 1904.01685, and Roelofs et al., Mitigating bias in calibration error
estimation, arXiv 2012.08668 (bins of equal mass).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import CalibrationError
from gfnet_dynn.exits import softmax
from gfnet_dynn.uncertainty.intervals import falling_root

COLDEST, HOTTEST = 0.05, 20.0
"""Range of the temperatures searched."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Images of similar confidence."""

    confidence: float  # their mean, 0 to 1
    accuracy: float  # 0 to 1
    count: int  # number of images, at least 1
    standard_error: float  # of the accuracy, binomial


def of_label(values: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Each image's value for its label: values [N, K] and labels [N] → [N].

    Raises CalibrationError: a label is no class index.
    """
    images, classes = values.shape
    if labels.shape != (images,) or not ((labels >= 0) & (labels < classes)).all():
        raise CalibrationError(f"{images} images of {classes} classes need a label each, from 0 to {classes - 1}")
    return np.asarray(values[np.arange(images), labels], np.float64)


def reliability_bins(
    confidences: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15
) -> tuple[Bin, ...]:
    """Bins of equal mass and rising confidence, at most one for each image: the points of a reliability plot.

    Bins hold equally many images, up to one. Where a bin's edge falls among images of equal confidence, these share
    their mean accuracy, so the order of the images does not matter. The largest probability of each image is [N], N at
    least 1, and whether the predicted class is the label [N].
    """
    count = len(confidences)
    distinct, group, sizes = np.unique(confidences.astype(np.float64), return_inverse=True, return_counts=True)
    accuracies = np.bincount(group, weights=correct) / sizes
    ranked, accuracy_at_rank = np.repeat(distinct, sizes), np.repeat(accuracies, sizes)
    bins = min(bins, count)
    limits = np.arange(bins + 1) * count // bins
    return tuple(_bin(ranked[start:stop], accuracy_at_rank[start:stop]) for start, stop in pairwise(limits))


def _bin(confidences: npt.NDArray[np.float64], accuracies: npt.NDArray[np.float64]) -> Bin:
    # A mean of ones may round to just above one.
    accuracy, count = min(1.0, float(accuracies.mean())), len(confidences)
    return Bin(float(confidences.mean()), accuracy, count, math.sqrt(accuracy * (1 - accuracy) / count))


def equal_mass_error(confidences: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of equal mass, 0 to 1.

    It is biased upwards, the more the fewer images a bin holds: compare networks on equally many images. Arguments as
    of `reliability_bins`.
    """
    found = reliability_bins(confidences, correct, bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in found) / len(confidences)


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """The temperature T that maximises the likelihood of the labels under softmax(logits / T).

    It changes confidences, never classes. The mean negative log-likelihood is convex in 1 / T, so its slope has one
    zero, which is found by bisection from `COLDEST` to `HOTTEST`; T is a bound where the likelihood still grows there:
    `COLDEST` where all are correct. Logits are of one exit, or of the exits taken, [N, K], and not those of training
    images; labels are class indices, [N].

    Raises CalibrationError: no images, logits that are not numbers, or a label that is no class index.
    """
    if len(logits) == 0 or not np.isfinite(logits).all():
        raise CalibrationError(f"the logits of {len(logits)} images are not all numbers: check the network")
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    own = of_label(shifted, labels)

    def slope(temperature: float) -> float:
        """Of the mean negative log-likelihood over 1 / T."""
        expected = (softmax(shifted / temperature) * shifted).sum(axis=1)
        return float((expected - own).mean())

    if slope(COLDEST) <= 0:
        return COLDEST
    if slope(HOTTEST) >= 0:
        return HOTTEST
    return math.exp(falling_root(lambda each: slope(math.exp(each)), math.log(COLDEST), math.log(HOTTEST)))
