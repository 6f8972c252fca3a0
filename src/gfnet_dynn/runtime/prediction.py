"""The answer for one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import DataError
from gfnet_dynn.exits import softmax
from gfnet_dynn.uncertainty.conformal import prediction_sets


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class.

    Attributes:
        source: its file, or None for an image from memory.
        label: the most probable class.
        confidence: that class's probability at the exit taken, 0 to 1; calibrated where the policy has temperatures.
        exit: the exit taken, such as `exit 2` or `final`.
        macs: multiply-accumulates up to that exit; counted from shapes.
        probabilities: of all classes at that exit, by name.
        policy: name of the exit policy; `own` where the caller set the thresholds.
        policy_digest: of that policy's score and thresholds, which may change under the same name.
        precision: of the network, such as `fp32`.
        unknown: the image is out of distribution; None where the policy has no rule for it.
        prediction_set: classes that include the true one with the policy's coverage, the most probable first; or None.
    """

    source: Path | None
    label: str
    confidence: float
    exit: str
    macs: int
    probabilities: Mapping[str, float]
    policy: str
    policy_digest: str
    precision: str
    unknown: bool | None = None
    prediction_set: tuple[str, ...] | None = None

    def ranked(self, top: int | None = None) -> list[tuple[str, float]]:
        """The `top` most probable classes, or all, with their probability, in descending order."""
        return sorted(self.probabilities.items(), key=lambda each: -each[1])[:top]

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """As JSON values, with the `top` most probable classes, or all."""
        return {
            "source": None if self.source is None else str(self.source),
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "exit": self.exit,
            "macs": self.macs,
            "probabilities": {name: round(value, 6) for name, value in self.ranked(top)},
            "policy": self.policy,
            "policy_digest": self.policy_digest,
            "precision": self.precision,
            **({} if self.unknown is None else {"unknown": self.unknown}),
            **({} if self.prediction_set is None else {"prediction_set": list(self.prediction_set)}),
        }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands for the prediction of a file or folder that cannot be read, and why.

    Attributes:
        source: the file or folder; None for an image from memory.
        error: names it, and says what to do.
    """

    source: Path | None
    error: DataError

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"source": None if self.source is None else str(self.source), "error": str(self.error)}


Answer = Prediction | Unreadable
"""What is said of one file."""


def make_prediction(
    manifest: Manifest,
    policy: Policy,
    precision: str,
    logits: npt.NDArray[np.float32],
    exit_index: int,
    source: Path | None,
    distance: np.float32 | None = None,
) -> Prediction:
    """The prediction for one image from its logits [K] of the exit taken, 0 to G, by a policy.

    Raises BundleError: the policy's rule for unknown images needs a distance, and there is none.
    """
    probabilities = softmax(policy.fitted.scaled(exit_index, logits))
    exit_, best = manifest.exits[exit_index], int(probabilities.argmax())
    unknown, prediction_set = None, None
    if rule := policy.unknown_rule:
        distances = None if distance is None else np.array([distance])
        unknown = bool(rule.applies(logits[None], np.array([exit_index]), distances)[0])
    if sets := policy.prediction_sets:
        included = prediction_sets(probabilities[None], sets.quantiles[exit_index])[0]
        order = np.argsort(-probabilities, kind="stable")
        prediction_set = tuple(manifest.classes[index] for index in order if included[index])
    return Prediction(
        source=source,
        label=manifest.classes[best],
        confidence=float(probabilities[best]),
        exit=exit_.name,
        macs=exit_.macs,
        probabilities=dict(zip(manifest.classes, probabilities.tolist(), strict=True)),
        policy=policy.name,
        policy_digest=policy.digest,
        precision=precision,
        unknown=unknown,
        prediction_set=prediction_set,
    )
