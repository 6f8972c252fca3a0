"""Made-up evaluations: outputs that grow better from exit to exit, with gates that know something of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.evaluation.evaluation import Evaluator, ExitTimes, Subject
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.evaluation.result import EvaluationResult
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.spec.network import InputSpec

MACS = (300_000_000, 500_000_000, 700_000_000, 850_000_000, 1_000_000_000)
SETTING = {
    "engine": "an engine",
    "device": "a processor",
    "threads": 2,
    "batch": 1,
    "images": 3,
    "repeats": 5,
    "scope": "network only",
}


def outputs(classes: int, per_class: int = 12, exits: int = 5, seed: int = 0) -> ExitArrays:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    strength = np.linspace(2.5, 5, exits)[:, None] * np.eye(classes)[labels][:, None, :]
    logits = (strength + generator.normal(size=(len(labels), exits, classes))).astype(np.float32)
    right = logits.argmax(axis=2) == labels[:, None]
    gates = np.where(right, 0.85, 0.35) + generator.normal(0, 0.2, right.shape)
    return ExitArrays(logits, gates[:, :-1].clip(0, 1).astype(np.float32), labels)


def times(exits: int = 5, images: int = 3) -> ExitTimes:
    """The image in row r takes 10 r + e + 1 ms at exit e."""
    milliseconds = np.add.outer(10.0 * np.arange(images), np.arange(1.0, exits + 1))
    return ExitTimes(np.arange(images), milliseconds, SETTING)


def subject(classes: int, macs: Sequence[int] = MACS) -> Subject:
    names = tuple(f"class_{index:02}" for index in range(classes))
    exits = (*(f"exit {index + 1}" for index in range(len(macs) - 1)), "final")
    return Subject("gfnet-192x12", "fp32, torch", InputSpec(256), names, exits, tuple(macs), 1234, "Scenes", "val")


def policies(*, chosen: bool = True) -> tuple[Policy, ...]:
    found = {"rule": "a rule", "chosen_on": "selection split"}
    both = {
        "threshold": {**found, "thresholds": [0.8] * 4},
        "max_softmax_threshold": {**found, "thresholds": [0.9] * 4},
    }
    return trained_policies(both if chosen else {}, 4)


def evaluation(classes: int = 4, *, chosen: bool = True, timed: bool = True) -> EvaluationResult:
    evaluator = Evaluator(outputs(classes), subject(classes), times() if timed else None)
    files = [Path(f"{index}.png") for index in range(len(evaluator.arrays.labels))]
    return EvaluationResult.of(
        evaluator,
        policies(chosen=chosen),
        files,
        mistakes=3,
        sweeps={score: evaluator.sweep(score) for score in ("gate", "max-softmax")},
    )
