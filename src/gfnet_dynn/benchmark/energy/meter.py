"""The interface of all energy meters, and what they measure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Energy(NamedTuple):
    """Joules over an interval, and its length in seconds."""

    joules: float
    seconds: float


@dataclass(frozen=True)
class Meter(ABC):
    """A device that measures energy.

    Attributes:
        name: short, for a table.
        covers: the parts of the device whose energy it measures.
        source: files or calls that it reads.
    """

    name: str
    covers: str
    source: str

    @abstractmethod
    def measure(self, work: Callable[[], object]) -> Energy:
        """The energy used while `work` runs.

        Raises:
            MeterError: the meter cannot be read at the start, and the work is not begun; or it fails later.
        """


Found = tuple[list[Meter], list[str]]
"""Meters that work here, and one sentence for each kind that does not."""


@dataclass(frozen=True)
class Estimate(Meter):
    """No meter, but a power in watts that the user knows."""

    power_w: float

    def measure(self, work: Callable[[], object]) -> Energy:
        """That power over the time of the work."""
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        return Energy(self.power_w * seconds, seconds)
