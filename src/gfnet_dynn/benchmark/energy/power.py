"""Meters that sample the power and integrate it over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Measurement
from gfnet_dynn.benchmark.energy.sampling import REAL, Sample, Sampling, Timing, watch
from gfnet_dynn.errors import MeterError

MAX_GAP_S = 2.0


def refuse_gaps(samples: Sequence[tuple[float, float]], max_gap_s: float, source: str) -> None:
    """Refuse samples that are too far apart to interpolate linearly.

    Args:
        samples: (seconds, watts), in order of time.
        max_gap_s: largest allowed interval in seconds.
        source: of the samples, for the message.

    Raises:
        MeterError: there is a longer gap.
    """
    for (earlier_s, _), (later_s, _) in pairwise(samples):
        if later_s - earlier_s > max_gap_s:
            raise MeterError(
                f"{source}: no sample for {later_s - earlier_s:.2f} s after {earlier_s:.3f} s, more than {max_gap_s:g} s;"
                " measure again on a less busy machine, or with a meter that samples more often"
            )


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Joules by the trapezoidal rule.

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
        read_power_w: present power in watts; raises MeterError.
        interval_s: seconds between two samples.
        max_gap_s: interval beyond which a measurement is refused.
        timing: clock and pause.
    """

    name: str
    covers: str
    source: str
    read_power_w: Callable[[], float]
    interval_s: float
    max_gap_s: float = MAX_GAP_S
    timing: Timing = REAL

    def measure(self) -> AbstractContextManager[Measurement]:
        """Sample during a `with` block."""
        return watch(Sampling(lambda: (self.read_power_w(),), self.interval_s, self.timing), self._energy)

    def _energy(self, samples: Sequence[Sample]) -> Energy:
        powers = [(sample.time_s, sample.values[0]) for sample in samples]
        refuse_gaps(powers, self.max_gap_s, self.source)
        seconds = powers[-1][0] - powers[0][0]
        return Energy(integrate(powers), seconds, self.name, self.covers, MEASURED, self.source)
