"""Meters whose device gives the power of the moment: it is sampled, and integrated over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Kind, Measurement
from gfnet_dynn.benchmark.energy.sampling import REAL, Sample, Sampling, Timing, watch
from gfnet_dynn.errors import MeterError

MAX_GAP_S = 2.0


def refuse_gaps(samples: Sequence[tuple[float, float]], max_gap_s: float, source: str) -> None:
    """Refuse samples too far apart for a straight line between them to be more than a guess.

    Args:
        samples: (seconds, watts), in order of time.
        max_gap_s: seconds from one sample to the next that are allowed.
        source: of the samples, for the message.

    Raises:
        MeterError: there is a longer gap.
    """
    for (earlier_s, _), (later_s, _) in pairwise(samples):
        if later_s - earlier_s > max_gap_s:
            raise MeterError(
                f"{source}: no sample for {later_s - earlier_s:.2f} s after {earlier_s:.3f} s, at most {max_gap_s:g} s"
                " are bridged; measure again on a machine less busy, or with a meter that samples more often"
            )


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Joules under power over time, straight lines between the samples.

    Args:
        samples: (seconds, watts), in order of time.
    """
    return sum(
        (earlier_w + later_w) / 2 * (later_s - earlier_s)
        for (earlier_s, earlier_w), (later_s, later_w) in pairwise(samples)
    )


@dataclass(frozen=True)
class PowerMeter:
    """The integral of a sampled power over a block.

    Attributes:
        name: short.
        covers: the parts of the device whose power is sampled.
        source: files or calls that are read, and how often.
        read_power_w: watts now; raises MeterError.
        interval_s: seconds between two samples.
        max_gap_s: the same beyond which a measurement is refused.
        timing: clock and pause.
    """

    name: str
    covers: str
    source: str
    read_power_w: Callable[[], float]
    interval_s: float
    max_gap_s: float = MAX_GAP_S
    timing: Timing = REAL

    @property
    def kind(self) -> Kind:
        """All power comes from a sensor."""
        return MEASURED

    def measure(self) -> AbstractContextManager[Measurement]:
        """Sample during a `with` block."""
        return watch(Sampling(lambda: (self.read_power_w(),), self.interval_s, self.timing), self._energy)

    def _energy(self, samples: Sequence[Sample]) -> Energy:
        powers = [(sample.time_s, sample.values[0]) for sample in samples]
        refuse_gaps(powers, self.max_gap_s, self.source)
        seconds = powers[-1][0] - powers[0][0]
        return Energy(integrate(powers), seconds, self.name, self.covers, self.kind, self.source)
