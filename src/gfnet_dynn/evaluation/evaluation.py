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
from gfnet_dynn.evaluation.metrics import confusion_matrix, macro_f1
from gfnet_dynn.exits.arrays import ExitArrays, softmax
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import Score, by_score
from gfnet_dynn.exits.sweep import PLAIN_THRESHOLDS, THRESHOLDS, OperatingPoint, operate
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.uncertainty.intervals import PairedDifference, Proportion, paired_difference


@dataclass(frozen=True)
class Subject:
    """The network that is evaluated, and on what.

    Attributes:
        model: name of the network.
        run_in: precision and engine, such as `fp32, onnxruntime 1.27.0`.
        input: the image that it takes.
        classes: names.
        exits: names, the final classifier last, [G + 1].
        exit_macs: multiply-accumulates up to each exit, [G + 1].
        parameters: number of weights; None if not known.
        data_set: name, or folder.
        part: `val` or `test`; empty for a folder.
    """

    model: str
    run_in: str
    input: InputSpec
    classes: tuple[str, ...]
    exits: tuple[str, ...]
    exit_macs: tuple[int, ...]
    parameters: int | None
    data_set: str
    part: str = ""

    @classmethod
    def of_bundle(cls, manifest: Manifest, run_in: str, data_set: str, part: str = "") -> Subject:
        """The network of a bundle."""
        names, macs = [each.name for each in manifest.exits], [each.macs for each in manifest.exits]
        return cls(
            manifest.model, run_in, manifest.input, manifest.classes, tuple(names), tuple(macs), None, data_set, part
        )


@dataclass(frozen=True)
class ExitTimes:
    """Measured latency of a sample of the images at each exit.

    Attributes:
        rows: indices of the images that were timed, [n].
        milliseconds: [n, G + 1].
        setting: conditions of the measurement, as JSON values.
    """

    rows: npt.NDArray[np.intp]
    milliseconds: npt.NDArray[np.float64]
    setting: Mapping[str, Any]


@dataclass(frozen=True)
class PolicyResult:
    """One exit policy on the images.

    Attributes:
        policy: score and thresholds.
        point: exits taken, predictions, cost as a share of the full network's.
        accuracy: top-1.
        exit_accuracy: top-1 of the images that take each exit, [G + 1]; None where none does.
        macro_f1: unweighted mean over the classes that occur.
        confusion: counts [K, K], rows true.
        mean_macs: multiply-accumulates of an image, mean over the images.
        latency_ms: mean over the timed images of the time up to the exit taken; None if not timed.
    """

    policy: Policy
    point: OperatingPoint
    accuracy: Proportion
    exit_accuracy: tuple[Proportion | None, ...]
    macro_f1: float
    confusion: npt.NDArray[np.int64]
    mean_macs: float
    latency_ms: float | None


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image.

    Attributes:
        file: the image.
        true: its class.
        predicted: the network's class.
        confidence: in that class, 0 to 1, with the policy's temperatures.
        exit: name of the exit taken.
    """

    file: Path
    true: str
    predicted: str
    confidence: float
    exit: str


class Evaluator:
    """Judges exit policies from one pass of all images through all exits.

    Attributes:
        arrays: outputs of all exits, N images.
        subject: network and data.
        times: latency of a sample of the images, or None.
    """

    def __init__(self, arrays: ExitArrays, subject: Subject, times: ExitTimes | None = None) -> None:
        """Check the outputs.

        Raises:
            DataError: some are not finite numbers.
        """
        finite = np.isfinite(arrays.logits).all(axis=(1, 2)) & np.isfinite(arrays.gates).all(axis=1)
        if not finite.all():
            raise DataError(
                f"the outputs of {subject.model} are not finite numbers for {int((~finite).sum())} of "
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
            latency_ms=self._mean_latency(point),
        )

    def _mean_latency(self, point: OperatingPoint) -> float | None:
        if self.times is None:
            return None
        exits = point.exits[self.times.rows]
        return float(self.times.milliseconds[np.arange(len(exits)), exits].mean())

    def compare(self, result: PolicyResult, reference: PolicyResult) -> PairedDifference:
        """Accuracy of one policy less that of another, on the same images."""
        labels = self.arrays.labels
        return paired_difference(reference.point.predictions == labels, result.point.predictions == labels)

    def exit_accuracies(self) -> tuple[Proportion, ...]:
        """Top-1 of each exit if all images took it, [G + 1]."""
        return tuple(map(Proportion.of, self.arrays.correct.T))

    def mistakes(self, result: PolicyResult, files: Sequence[Path], limit: int) -> tuple[Mistake, ...]:
        """The wrongly classified images, the most confident ones first.

        Args:
            result: of the policy.
            files: of the images, [N].
            limit: how many at most.
        """
        exits, predictions, names = result.point.exits, result.point.predictions, self.subject.classes
        wrong = np.flatnonzero(predictions != self.arrays.labels)
        fitted = result.policy.fitted
        confidences = {
            int(row): float(softmax(fitted.scaled(int(exits[row]), self.arrays.logits[row, exits[row]])).max())
            for row in wrong
        }
        return tuple(
            Mistake(
                files[row],
                names[self.arrays.labels[row]],
                names[predictions[row]],
                confidence,
                self.subject.exits[exits[row]],
            )
            for row, confidence in sorted(confidences.items(), key=lambda each: -each[1])[:limit]
        )


def timed_rows(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Which of `count` images to time: `wanted` of them, evenly spread over the split and so over its classes."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.intp))
