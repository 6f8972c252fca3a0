"""The interface of all energy meters, and what they measure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from gfnet_dynn.errors import MeterError

Kind = Literal["measured", "estimated"]

MEASURED: Kind = "measured"
ESTIMATED: Kind = "estimated"


@dataclass(frozen=True)
class Energy:
    """Energy over an interval, with its source.

    Attributes:
        joules: over the whole interval.
        seconds: length of the interval.
        meter: name of the meter.
        covers: the parts of the device that used it.
        kind: measured by a meter, or estimated from a given power.
        source: files or calls that were read.
    """

    joules: float
    seconds: float
    meter: str
    covers: str
    kind: Kind
    source: str

    @property
    def power_w(self) -> float:
        """Mean power over the interval, in watts.

        Raises:
            MeterError: the interval has no length.
        """
        if self.seconds <= 0:
            raise MeterError(f"{self.meter}: no time passed during the measurement, so it has no power; measure longer")
        return self.joules / self.seconds


class Measurement:
    """Energy used during a `with` block; to be read after the block."""

    def __init__(self) -> None:
        self._result: Callable[[], Energy] | None = None
        self._energy: Energy | None = None

    def end(self, result: Callable[[], Energy]) -> None:
        """Called by the meter at the end of the block.

        Args:
            result: computes the energy when it is first read; may raise MeterError.
        """
        self._result = result

    @property
    def energy(self) -> Energy:
        """The energy with its source.

        Raises:
            MeterError: the block has not ended, or the meter failed during it.
        """
        if self._result is None:
            raise MeterError("the measurement is still going on: read its energy after the with block")
        if self._energy is None:
            self._energy = self._result()
        return self._energy

    @property
    def energy_j(self) -> float:
        """Joules over the block; raises as `energy` does."""
        return self.energy.joules

    @property
    def seconds(self) -> float:
        """Length of the measured interval; raises as `energy` does."""
        return self.energy.seconds


@dataclass(frozen=True)
class Meter(ABC):
    """A device that measures energy.

    ::

        with meter.measure() as measurement:
            work()
        print(measurement.energy_j, measurement.seconds)

    Attributes:
        name: short, for a table.
        covers: the parts of the device whose energy it measures.
        source: files or calls that it reads.
    """

    name: str
    covers: str
    source: str

    @abstractmethod
    def measure(self) -> AbstractContextManager[Measurement]:
        """Measure the energy used during a `with` block.

        Raises:
            MeterError: the meter cannot be read at the start; later failures are raised when the energy is read.
        """


Found = tuple[list[Meter], list[str]]
"""Meters that work here, and one sentence for each kind that does not."""


def idle_power_w(meter: Meter, seconds: float, sleep: Callable[[float], None] = time.sleep) -> float:
    """Mean power in watts while this process sleeps for `seconds`.

    Raises:
        MeterError: the meter failed, or no time passed.
    """
    with meter.measure() as measurement:
        sleep(seconds)
    return measurement.energy.power_w


def estimate(power_w: float, seconds: float) -> Energy:
    """Energy at a power that the user gave; marked as estimated."""
    return Energy(
        power_w * seconds, seconds, "estimate", "what the given power covers", ESTIMATED, "power given by the user"
    )
