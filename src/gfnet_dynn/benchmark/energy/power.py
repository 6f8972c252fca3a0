"""Meters that sample the power and integrate it over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gfnet_dynn.benchmark.energy.sampling import Sample, SampledMeter
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
                f"{source}: no sample for {later_s - earlier_s:.2f} s after {earlier_s:.3f} s, more than"
                f" {max_gap_s:g} s; measure again on a less busy machine, or with a meter that samples more often"
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
class PowerMeter(SampledMeter):
    """The integral of a sampled power.

    Attributes:
        read_power_w: present power in watts; raises MeterError.
        max_gap_s: interval beyond which a measurement is refused.
    """

    read_power_w: Callable[[], float]
    max_gap_s: float = MAX_GAP_S

    def read(self) -> tuple[float, ...]:
        """The present power."""
        return (self.read_power_w(),)

    def joules(self, samples: Sequence[Sample]) -> float:
        """The integral; gaps are refused."""
        powers = [(sample.time_s, sample.values[0]) for sample in samples]
        refuse_gaps(powers, self.max_gap_s, self.source)
        return integrate(powers)
