"""An evaluation as JSON, with the definition and source of every number."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from gfnet_dynn.evaluation.evaluation import Evaluation, Judgement
from gfnet_dynn.evaluation.metrics import class_scores

DEFINITIONS = {
    "images": "number of images of the data, of those timed under `latency`, or of the class",
    "input_px": "side of the network's input in pixels, padding included",
    "parameters": "number of weights, of all exits together",
    "exit_macs": "multiply-accumulates for one image up to the exit, its head and gate and the earlier ones included; "
    "counted from shapes: convolutions, linear maps and filters with their transforms. FLOPs are twice as many",
    "exit_accuracy_over_all_images": "top-1 of each exit if every image left there, 0 to 1; measured",
    "exit_ms": "mean over the timed images of the time at each exit, milliseconds; measured as `latency` says",
    "threads": "of the engine that was timed",
    "batch": "images at once while timing",
    "repeats": "rounds of timing; of each image the median over them counts",
    "threshold": "gate probability (plain rule: largest probability) from which a sample leaves; null: none does",
    "accuracy": "top-1 of the gated output, 0 to 1; measured on the images named under `data`",
    "macro_f1": "unweighted mean of the classes' F1, 0 to 1; measured on the same images",
    "share": "part of the images that leaves at the exit, 0 to 1; measured",
    "accuracy_of_those_leaving": "top-1 among the images that leave at the exit; null where none does; measured",
    "mean_macs": "mean over the images of the MACs at the exit taken",
    "mean_cost": "mean_macs as a share of the full network's MACs",
    "latency_ms": "mean over the timed images of the time at the exit taken, milliseconds; measured as `latency` says",
    "precision": "of the images predicted as the class, the share that is, 0 to 1; 0 where none is predicted; measured",
    "recall": "of the class's images, the share predicted so, 0 to 1; measured",
    "f1": "harmonic mean of precision and recall, 0 to 1; measured",
    "counts": "images of the row's class that are predicted as the column's; measured",
}


def evaluation_to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON values."""
    times = evaluation.times
    return {
        "definitions": DEFINITIONS,
        "data": {"data_set": evaluation.data_set, "part": evaluation.part, "images": evaluation.images},
        "input_px": evaluation.input_px,
        "network": {
            "model": evaluation.model,
            "parameters": evaluation.parameters,
            "exit_macs": list(evaluation.exit_macs),
            "exit_accuracy_over_all_images": list(evaluation.exit_accuracy),
        },
        "latency": None if times is None else {**asdict(times.setting), "exit_ms": _exit_milliseconds(evaluation)},
        "sweep": [_judgement_to_dict(judgement) for judgement in evaluation.sweep],
        "chosen_on_selection": _detailed(evaluation.chosen, evaluation.classes) if evaluation.chosen else None,
        "plain_rule": {
            "what": "leaving by the largest probability of an exit instead of its learned gate",
            "sweep": [_judgement_to_dict(judgement) for judgement in evaluation.plain_sweep],
            "chosen_on_selection": _judgement_to_dict(evaluation.plain) if evaluation.plain else None,
        },
        "full_network": _detailed(evaluation.sweep[-1], evaluation.classes),
    }


def _exit_milliseconds(evaluation: Evaluation) -> list[float]:
    assert evaluation.times is not None
    return [float(value) for value in evaluation.times.milliseconds.mean(axis=0)]


def _judgement_to_dict(judgement: Judgement) -> dict[str, Any]:
    point = judgement.point
    return {
        "threshold": [_finite(value) for value in point.thresholds],
        "accuracy": point.accuracy,
        "macro_f1": judgement.macro_f1,
        "share": list(point.shares),
        "accuracy_of_those_leaving": [_finite(value) for value in point.exit_accuracy],
        "mean_macs": judgement.mean_macs,
        "mean_cost": point.mean_cost,
        "latency_ms": judgement.latency_ms,
    }


def _detailed(judgement: Judgement, classes: tuple[str, ...]) -> dict[str, Any]:
    scores = class_scores(judgement.confusion)
    per_class = {
        name: {
            "precision": float(scores.precision[index]),
            "recall": float(scores.recall[index]),
            "f1": float(scores.f1[index]),
            "images": int(scores.support[index]),
        }
        for index, name in enumerate(classes)
    }
    confusion = {"rows": "true class", "columns": "predicted class", "counts": judgement.confusion.tolist()}
    return {**_judgement_to_dict(judgement), "classes": per_class, "confusion": confusion}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
