"""Meters that are read at start and end of a block, and at regular intervals in between, in a thread."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from gfnet_dynn.benchmark.energy.meter import MEASURED, Energy, Measurement, Meter
from gfnet_dynn.errors import MeterError


@dataclass(frozen=True)
class Timing:
    """Clock and pause of a meter; replaced in tests.

    Attributes:
        clock: seconds, never backwards.
        pause: waits until the event is set or these seconds have passed.
    """

    clock: Callable[[], float] = time.perf_counter
    pause: Callable[[threading.Event, float], object] = threading.Event.wait


REAL = Timing()


class Sample(NamedTuple):
    """All readings of one time in seconds."""

    time_s: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SampledMeter(Meter):
    """A meter that is read every `interval_s` seconds."""

    interval_s: float
    timing: Timing = REAL

    @abstractmethod
    def read(self) -> tuple[float, ...]:
        """Present readings.

        Raises:
            MeterError: it cannot be read.
        """

    @abstractmethod
    def joules(self, samples: Sequence[Sample]) -> float:
        """Energy from at least two samples.

        Raises:
            MeterError: they do not determine it.
        """

    @contextmanager
    def measure(self) -> Iterator[Measurement]:
        """Sample during a `with` block; a failure after the first sample is raised when the energy is read."""
        samples, failures, stopped = [self._sample()], list[MeterError](), threading.Event()

        def take() -> None:
            try:
                samples.append(self._sample())
            except MeterError as error:
                failures.append(error)

        def run() -> None:
            while not failures:
                self.timing.pause(stopped, self.interval_s)
                if stopped.is_set():
                    return
                take()

        def energy() -> Energy:
            if failures:
                raise failures[0]
            seconds = samples[-1].time_s - samples[0].time_s
            return Energy(self.joules(samples), seconds, self.name, self.covers, MEASURED, self.source)

        measurement = Measurement()
        thread = threading.Thread(target=run, name="energy meter", daemon=True)  # must not keep the process alive
        thread.start()
        try:
            yield measurement
        finally:
            stopped.set()
            thread.join()
            take()
            measurement.end(energy)

    def _sample(self) -> Sample:
        return Sample(self.timing.clock(), self.read())
