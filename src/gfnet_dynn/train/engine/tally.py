"""What is counted over an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class EpochTally:
    """Sums over the steps of an epoch, so far.

    Attributes:
        sums: of each loss.
        counts: steps that had it.
        images: that steps were taken on.
        seconds: that they took; pauses between a stop and going on are not in it.
    """

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, float], images: int, seconds: float) -> None:
        """Take one step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.images += images
        self.seconds += seconds

    def metrics(self) -> dict[str, float]:
        """Mean losses by name, images per second and seconds."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        return {**means, "images_per_s": self.images / max(self.seconds, 1e-9), "seconds": self.seconds}
