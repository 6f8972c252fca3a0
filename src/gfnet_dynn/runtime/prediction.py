"""What the runtime answers for one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's class.

    Attributes:
        source: its file, or None for an image from memory.
        label: name of the most probable class.
        confidence: that class's softmax probability at the exit taken, 0 to 1; not calibrated.
        exit: name of the exit taken, such as `exit 2` or `final`.
        macs: multiply-accumulates spent up to there; counted from shapes.
        probabilities: softmax of all classes at that exit, by name.
    """

    source: Path | None
    label: str
    confidence: float
    exit: str
    macs: int
    probabilities: Mapping[str, float]

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
        }


def make_prediction(
    manifest: Manifest, logits: npt.NDArray[np.float32], exit_index: int, source: Path | None
) -> Prediction:
    """The answer that one image's logits mean.

    Args:
        manifest: classes and ways out.
        logits: [K], of the exit taken.
        exit_index: 0 to G.
        source: the image's file.
    """
    wide = logits.astype(np.float64)
    exponentials = np.exp(wide - wide.max())
    probabilities = exponentials / exponentials.sum()
    way_out, best = manifest.ways_out[exit_index], int(probabilities.argmax())
    return Prediction(
        source=source,
        label=manifest.classes[best],
        confidence=float(probabilities[best]),
        exit=way_out.name,
        macs=way_out.macs,
        probabilities=dict(zip(manifest.classes, probabilities.tolist(), strict=True)),
    )
