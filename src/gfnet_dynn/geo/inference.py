"""From the chips of a unit to its record; always in the same batches, whatever else runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import EngineError
from gfnet_dynn.exits import softmax
from gfnet_dynn.geo.blend import NODATA
from gfnet_dynn.geo.journal import Record, record_type
from gfnet_dynn.geo.reading import UnitPixels
from gfnet_dynn.runtime.segments import SegmentedNet, usual_batch

_TIMED = 2  # units

Bytes = npt.NDArray[np.uint8]


@dataclass
class ChipInference:
    """Runs the chips of units up to their exits.

    Attributes:
        net: the compiled network.
        policy: of its exits.
        seconds: spent in the network so far.
        chips: that went through it.
    """

    net: SegmentedNet
    policy: Policy
    seconds: float = field(default=0.0, init=False)
    chips: int = field(default=0, init=False)

    @property
    def batch(self) -> int:
        """Chips at once."""
        return usual_batch(self.net.manifest.input.size)

    def full_seconds(self, chips: int) -> float:
        """Seconds of a chip through the full network, in a unit of so many; takes all memory that one needs."""
        side = self.net.manifest.input.size
        images, full = np.zeros((chips, side, side, 3), np.uint8), self.net.manifest.policy(FULL)
        times = []
        for _ in range(_TIMED):
            began = time.perf_counter()
            self.net.decide(images, full, self.batch)
            times.append((time.perf_counter() - began) / chips)
        return min(times)

    def record(self, pixels: UnitPixels, side: int) -> Record:
        """The record of one unit; raises EngineError: the network computes what is no number."""
        record = np.zeros((), record_type(side, len(self.net.manifest.classes)))
        record["exits"] = NODATA
        began = time.perf_counter()
        if len(pixels.chips):
            self._infer(record, pixels.chips, pixels.places)
        self.seconds += time.perf_counter() - began
        self.chips += len(pixels.chips)
        record["validity"], record["valid_pixels"] = pixels.validity, pixels.valid_pixels
        record["unreadable"], record["first_unreadable"] = pixels.unreadable, pixels.first_unreadable
        return record

    def _infer(self, record: Record, chips: Bytes, places: npt.NDArray[np.intp]) -> None:
        logits, exits, distances = self.net.decide(chips, self.policy, self.batch)
        probabilities = softmax(self.policy.fitted.scaled(exits, logits))
        if not np.isfinite(probabilities).all():
            raise EngineError("the network computes what is no number: export it again, or try --precision fp32")
        rows, columns = places.T
        record["probabilities"][rows, columns] = probabilities
        record["exits"][rows, columns] = exits
        if rule := self.policy.unknown_rule:
            record["unknown"][rows, columns] = rule.applies(logits, exits, distances)
