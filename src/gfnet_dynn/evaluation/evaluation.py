"""Accuracy, exits, cost and latency of exit policies over images, from the outputs of all exits. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import DataError
from gfnet_dynn.exits import (
    NEVER,
    PLAIN_THRESHOLDS,
    THRESHOLDS,
    ExitArrays,
    OperatingPoint,
    Score,
    by_score,
    operate,
    softmax,
)
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.uncertainty.intervals import PairedDifference, Proportion, paired_difference


@dataclass(frozen=True)
class Subject:
    """The network that is evaluated, and on what."""

    model: str
    run_in: str  # precision and engine, such as `fp32, onnxruntime 1.27.0`
    input: InputSpec
    classes: tuple[str, ...]
    exits: tuple[str, ...]  # names, the final classifier last, [G + 1]
    exit_macs: tuple[int, ...]  # multiply-accumulates up to each exit, [G + 1]
    parameters: int | None  # number of weights; None if not known
    data_set: str  # name, or folder
    part: str = ""  # `val` or `test`; empty for a folder

    @classmethod
    def of_bundle(cls, manifest: Manifest, run_in: str, data_set: str, part: str = "") -> Subject:
        """The network of a bundle."""
        names, macs = [each.name for each in manifest.exits], [each.macs for each in manifest.exits]
        return cls(
            manifest.model, run_in, manifest.input, manifest.classes, tuple(names), tuple(macs), None, data_set, part
        )


@dataclass(frozen=True)
class ExitTimes:
    """Latency of some of the images, by index [n], in ms at each exit [n, G + 1]; its conditions as JSON values."""

    rows: npt.NDArray[np.intp]
    milliseconds: npt.NDArray[np.float64]
    setting: Mapping[str, Any]

    def mean_ms(self, exits: npt.NDArray[np.intp]) -> float:
        """Mean up to the exit that each of all images takes, [N]."""
        return float(self.milliseconds[np.arange(len(self.rows)), exits[self.rows]].mean())


@dataclass(frozen=True)
class PolicyResult:
    """One exit policy on the images."""

    policy: Policy
    point: OperatingPoint  # exits taken, predictions, cost as a share of the full network's
    accuracy: Proportion  # top-1
    exit_accuracy: tuple[Proportion | None, ...]  # of the images that take each exit, [G + 1]; None: none does
    macro_f1: float  # unweighted mean over the classes that occur
    confusion: npt.NDArray[np.int64]  # counts [K, K], rows true
    mean_macs: float  # multiply-accumulates of an image, mean over the images
    latency_ms: float | None  # mean over the timed images of the time up to the exit taken; None if not timed


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image; confidence in the predicted class, 0 to 1, with the policy's temperatures."""

    file: Path
    true: str
    predicted: str
    confidence: float
    exit: str


class Evaluator:
    """Judges exit policies from one pass of all images through all exits."""

    def __init__(self, arrays: ExitArrays, subject: Subject, times: ExitTimes | None = None) -> None:
        """Keep the outputs; raises DataError if some are not finite numbers."""
        if not arrays.finite.all():
            raise DataError(
                f"the outputs of {subject.model} are not finite numbers for {int((~arrays.finite).sum())} of "
                f"{len(arrays.labels)} images: train or export it again"
            )
        self.arrays, self.subject, self.times = arrays, subject, times
        self._costs = [macs / subject.exit_macs[-1] for macs in subject.exit_macs]

    def judge(self, policy: Policy) -> PolicyResult:
        """One policy."""
        return self._judge(policy, policy.scores(self.arrays))

    def sweep(self, score: Score) -> tuple[PolicyResult, ...]:
        """A score at each of several thresholds, the same for all exits; the full network last."""
        scored, gates = by_score(self.arrays, score), self.arrays.gates.shape[1]
        usual = THRESHOLDS if score == "gate" else PLAIN_THRESHOLDS
        thresholds = usual if gates else (NEVER,)  # without early exits no threshold changes anything
        return tuple(self._judge(Policy(score, score, (each,) * gates, "sweep"), scored) for each in thresholds)

    def _judge(self, policy: Policy, scored: ExitArrays) -> PolicyResult:
        point, labels = operate(scored, self._costs, policy.thresholds), self.arrays.labels
        correct = point.predictions == labels
        confusion = confusion_matrix(labels, point.predictions, len(self.subject.classes))
        taken = [correct[point.exits == index] for index in range(len(self._costs))]
        return PolicyResult(
            policy=policy,
            point=point,
            accuracy=Proportion.of(correct),
            exit_accuracy=tuple(Proportion.of(each) if len(each) else None for each in taken),
            macro_f1=macro_f1(confusion),
            confusion=confusion,
            mean_macs=float(np.asarray(self.subject.exit_macs, np.float64)[point.exits].mean()),
            latency_ms=None if self.times is None else self.times.mean_ms(point.exits),
        )

    def compare(self, result: PolicyResult, reference: PolicyResult) -> PairedDifference:
        """Accuracy of one policy less that of another, on the same images."""
        labels = self.arrays.labels
        return paired_difference(reference.point.predictions == labels, result.point.predictions == labels)

    def exit_accuracies(self) -> tuple[Proportion, ...]:
        """Top-1 of each exit if all images took it, [G + 1]."""
        return tuple(map(Proportion.of, self.arrays.correct.T))

    def mistakes(self, result: PolicyResult, files: Sequence[Path], limit: int) -> tuple[Mistake, ...]:
        """The wrongly classified images of all `files`, [N], the most confident ones first; at most `limit`."""
        names, labels, point = self.subject.classes, self.arrays.labels, result.point
        rows = np.flatnonzero(point.predictions != labels)
        exits = point.exits[rows]
        confidences = softmax(result.policy.fitted.scaled(exits, self.arrays.logits[rows, exits])).max(axis=1)
        found = []
        for place in np.argsort(-confidences, kind="stable")[:limit]:
            row = rows[place]
            classes = names[labels[row]], names[point.predictions[row]]
            found.append(Mistake(files[row], *classes, float(confidences[place]), self.subject.exits[exits[place]]))
        return tuple(found)


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, [K] each; 0 where a ratio has nothing to divide by, as is usual.

    Precision is the share of the images predicted as the class that is, recall the share of its images predicted so, f1
    their harmonic mean, support the number of its images.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]


def confusion_matrix(
    labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.int64]:
    """Counts [K, K] from labels [N] and predictions [N]: rows are true classes, columns predicted ones."""
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
