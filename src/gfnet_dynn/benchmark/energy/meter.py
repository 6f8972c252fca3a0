"""What every meter has in common: what it says about itself, how it is used, and what it gives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from gfnet_dynn.errors import MeterError

Kind = Literal["measured", "estimated"]

MEASURED: Kind = "measured"
ESTIMATED: Kind = "estimated"


@dataclass(frozen=True)
class Energy:
    """Energy over an interval, and how it came about.

    Attributes:
        joules: over the whole interval.
        seconds: length of the interval.
        meter: name of the meter.
        covers: the parts of the device whose energy this is.
        kind: whether a meter measured it, or it follows from a power that somebody stated.
        source: files or calls that the numbers come from.
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

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


class Measurement:
    """What a meter saw between the begin and the end of a `with` block; to be read after the block."""

    def __init__(self) -> None:
        self._result: Callable[[], Energy] | None = None
        self._energy: Energy | None = None

    def end(self, result: Callable[[], Energy]) -> None:
        """Told by the meter when the block is left.

        Args:
            result: works the energy out when it is first asked for; raises MeterError where that is impossible.
        """
        self._result = result

    @property
    def energy(self) -> Energy:
        """The energy with all that belongs to it.

        Raises:
            MeterError: the block is not left yet, or the meter failed during it.
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
        """Length of the interval that the energy belongs to; raises as `energy` does."""
        return self.energy.seconds


class Meter(Protocol):
    """Something that measures energy; nothing that guesses may call itself one.

    ::

        with meter.measure() as measurement:
            work()
        print(measurement.energy_j, measurement.seconds)
    """

    @property
    def name(self) -> str:
        """Short, for a table."""
        ...

    @property
    def covers(self) -> str:
        """The parts of the device whose energy it measures."""
        ...

    @property
    def source(self) -> str:
        """Files or calls that it reads."""
        ...

    @property
    def kind(self) -> Kind:
        """`measured`."""
        ...

    def measure(self) -> AbstractContextManager[Measurement]:
        """Measure what the `with` block takes.

        Raises:
            MeterError: when the block is entered and the meter cannot be read; what goes wrong later is raised when
                the measurement is read.
        """
        ...


# Meters that work here, and for each that does not one sentence why.
Found = tuple[list[Meter], list[str]]


def idle_power_w(meter: Meter, seconds: float, sleep: Callable[[float], None] = time.sleep) -> float:
    """Mean power in watts while this process does nothing.

    Args:
        meter: to be read.
        seconds: to wait.
        sleep: waits.

    Raises:
        MeterError: the meter failed, or no time was given.
    """
    if not seconds > 0:
        raise MeterError(f"idle power over {seconds:g} s cannot be measured: give it at least a second")
    with meter.measure() as measurement:
        sleep(seconds)
    return measurement.energy.power_w


def estimate(power_w: float, seconds: float) -> Energy:
    """The energy that follows from a stated power; an estimate, only to be made when the user asks for it.

    Args:
        power_w: watts, given by the user.
        seconds: that the work took.

    Raises:
        MeterError: one of the two is negative or no number.
    """
    for value, what in ((power_w, "a power of {:g} W"), (seconds, "a time of {:g} s")):
        if not (math.isfinite(value) and value >= 0):
            raise MeterError(f"no energy follows from {what.format(value)}: give a number that is not negative")
    return Energy(
        joules=power_w * seconds,
        seconds=seconds,
        meter="estimate",
        covers="what the given power covers",
        kind=ESTIMATED,
        source="power given by the user",
    )
