"""Evaluates a trained network over a range of thresholds: accuracy, exits, cost and measured latency of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gfnet_dynn.benchmark.torch_latency import LatencySetting
from gfnet_dynn.evaluation.metrics import confusion_matrix, macro_f1
from gfnet_dynn.exits.arrays import ExitArrays
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.exits.scores import by_max_softmax
from gfnet_dynn.exits.sweep import PLAIN_THRESHOLDS, THRESHOLDS, OperatingPoint, operate, sweep


@dataclass(frozen=True)
class ExitTimes:
    """Measured latency of a sample of the images at each exit.

    Attributes:
        rows: which images of the split were timed, [n].
        milliseconds: [n, G + 1].
        setting: under what they were measured.
    """

    rows: npt.NDArray[np.intp]
    milliseconds: npt.NDArray[np.float64]
    setting: LatencySetting


@dataclass(frozen=True)
class Judgement:
    """The gated network at one setting of its thresholds, on one split.

    Attributes:
        point: thresholds, accuracy, exits and mean cost as a share of the full network.
        macro_f1: unweighted mean over the classes.
        confusion: counts [K, K], rows true.
        mean_macs: multiply-accumulates of an image, counted from shapes, averaged over the exits taken.
        latency_ms: mean over the timed images of the time at the exit that each takes; measured. None if not timed.
    """

    point: OperatingPoint
    macro_f1: float
    confusion: npt.NDArray[np.int64]
    mean_macs: float
    latency_ms: float | None


@dataclass(frozen=True)
class Evaluation:
    """A network judged on data that nothing was chosen on.

    Attributes:
        data_set: name.
        part: `val` or `test`.
        classes: names.
        exit_macs: multiply-accumulates up to each exit, [G + 1].
        parameters: number of weights.
        exit_accuracy: top-1 of each exit if every image left there, [G + 1].
        sweep: at each threshold, the full network last.
        chosen: at the threshold chosen on the selection split, or None where the checkpoint brings none.
        plain_sweep: as `sweep`, by the plain rule: largest probability in place of the gate.
        plain: as `chosen`, by the plain rule.
        times: measured latency, or None.
        images: N.
        model: name of the network.
        input_px: side of the input in pixels, padding included.
    """

    data_set: str
    part: str
    classes: tuple[str, ...]
    exit_macs: tuple[int, ...]
    parameters: int
    exit_accuracy: tuple[float, ...]
    sweep: tuple[Judgement, ...]
    chosen: Judgement | None
    plain_sweep: tuple[Judgement, ...]
    plain: Judgement | None
    times: ExitTimes | None
    images: int
    model: str
    input_px: int


@dataclass(frozen=True)
class Subject:
    """What is evaluated: the facts of network and data that no array holds."""

    data_set: str
    part: str
    classes: tuple[str, ...]
    exit_macs: tuple[int, ...]
    parameters: int
    model: str
    input_px: int


@dataclass(frozen=True)
class Thresholds:
    """Found on the selection split, one for each gate; None where nothing is saved.

    Attributes:
        gates: for the learned gates.
        plain: for the plain rule, largest probability.
    """

    gates: Sequence[float] | None
    plain: Sequence[float] | None


def evaluate(arrays: ExitArrays, subject: Subject, times: ExitTimes | None, chosen: Thresholds) -> Evaluation:
    """Judge a network from the outputs of its exits.

    Args:
        arrays: all exits over the split to report on.
        subject: what they come from.
        times: latency of a sample of these images, where it was measured.
        chosen: thresholds to judge beside those of the sweep.
    """
    costs = [macs / subject.exit_macs[-1] for macs in subject.exit_macs]
    plain = by_max_softmax(arrays)

    # Without early exits no threshold changes anything.
    swept, plainly = (THRESHOLDS, PLAIN_THRESHOLDS) if arrays.gates.shape[1] else ((NEVER,), (NEVER,))

    def judge(point: OperatingPoint) -> Judgement:
        return _judge(point, arrays, subject, times)

    return Evaluation(
        data_set=subject.data_set,
        part=subject.part,
        classes=subject.classes,
        exit_macs=subject.exit_macs,
        parameters=subject.parameters,
        exit_accuracy=tuple(float(value) for value in arrays.correct.mean(axis=0)),
        sweep=tuple(judge(point) for point in sweep(arrays, costs, swept)),
        chosen=judge(operate(arrays, costs, chosen.gates)) if chosen.gates else None,
        plain_sweep=tuple(judge(point) for point in sweep(plain, costs, plainly)),
        plain=judge(operate(plain, costs, chosen.plain)) if chosen.plain else None,
        times=times,
        images=len(arrays.labels),
        model=subject.model,
        input_px=subject.input_px,
    )


def _judge(point: OperatingPoint, arrays: ExitArrays, subject: Subject, times: ExitTimes | None) -> Judgement:
    confusion = confusion_matrix(arrays.labels, point.predictions, len(subject.classes))
    return Judgement(
        point=point,
        macro_f1=macro_f1(confusion),
        confusion=confusion,
        mean_macs=float(np.asarray(subject.exit_macs, dtype=np.float64)[point.exits].mean()),
        latency_ms=_mean_latency(point, times),
    )


def _mean_latency(point: OperatingPoint, times: ExitTimes | None) -> float | None:
    if times is None:
        return None
    exits = point.exits[times.rows]
    return float(times.milliseconds[np.arange(len(exits)), exits].mean())


def timed_rows(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Which of `count` images to time: `wanted` of them, evenly spread over the split and so over its classes."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.intp))
