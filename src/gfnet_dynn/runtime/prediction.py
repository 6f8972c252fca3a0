"""What the runtime answers for one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits.arrays import softmax
from gfnet_dynn.uncertainty.out_of_distribution import familiarity, is_unknown
from gfnet_dynn.uncertainty.prediction_sets import prediction_sets


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class.

    Attributes:
        source: its file, or None for an image from memory.
        label: name of the most probable class.
        confidence: that class's probability at the exit taken, 0 to 1; calibrated where the policy has temperatures.
        exit: name of the exit taken, such as `exit 2` or `final`.
        macs: multiply-accumulates spent up to there; counted from shapes.
        probabilities: of all classes at that exit, by name.
        policy: name of the one by which it left; `own` where the caller gave the thresholds.
        policy_digest: of that policy's score and thresholds: a name may come to mean others.
        precision: of the network that answered, such as `fp32`.
        unknown: the image is unlike those that the network knows; None where the policy cannot tell.
        among: classes among which the true one is, with the policy's coverage; None where it guarantees none.
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
    among: tuple[str, ...] | None = None

    def ranked(self, top: int | None = None) -> list[tuple[str, float]]:
        """The `top` most probable classes, or all, with their probability, in falling order."""
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
            **({} if self.among is None else {"among": list(self.among)}),
        }


def make_prediction(
    manifest: Manifest,
    policy: Policy,
    precision: str,
    logits: npt.NDArray[np.float32],
    exit_index: int,
    source: Path | None,
) -> Prediction:
    """The answer that one image's logits mean.

    Args:
        manifest: classes and ways out.
        policy: by which it left.
        precision: of the network that computed the logits.
        logits: [K], of the exit taken.
        exit_index: 0 to G.
        source: the image's file.
    """
    probabilities = softmax(policy.fitted.scaled(exit_index, logits))
    exit_, best = manifest.exits[exit_index], int(probabilities.argmax())
    unknown, among = None, None
    if known := policy.unknown_rule:
        unknown = bool(is_unknown(familiarity(logits[None], known.score), known.thresholds[exit_index])[0])
    if sets := policy.prediction_sets:
        held = prediction_sets(probabilities[None], sets.quantiles[exit_index], sets.score)[0]
        order = np.argsort(-probabilities, kind="stable")
        among = tuple(manifest.classes[index] for index in order if held[index])
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
        among=among,
    )
