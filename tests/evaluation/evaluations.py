"""Made-up evaluations: outputs that grow better from exit to exit, with gates that know something of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gfnet_dynn.benchmark.torch_latency import LatencySetting
from gfnet_dynn.evaluation.evaluation import Evaluation, ExitTimes, Subject, Thresholds, evaluate
from gfnet_dynn.exits.arrays import ExitArrays

MACS = (300_000_000, 500_000_000, 700_000_000, 850_000_000, 1_000_000_000)
SETTING = LatencySetting("an engine", "a processor", 2, 1, 3, 5, "network only")


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
    return Subject("Scenes", "val", names, tuple(macs), 1234, model="gfnet-192x12", input_px=256)


def evaluation(classes: int = 4, *, chosen: bool = True, timed: bool = True) -> Evaluation:
    thresholds = Thresholds((0.8,) * 4, (0.9,) * 4) if chosen else Thresholds(None, None)
    return evaluate(outputs(classes), subject(classes), times() if timed else None, thresholds)
