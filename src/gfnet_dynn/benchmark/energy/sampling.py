"""Read a meter at start and end of a block, and at regular intervals in between, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gfnet_dynn.benchmark.energy.meter import Energy, Measurement
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


@dataclass(frozen=True)
class Sample:
    """One reading.

    Attributes:
        time_s: by the clock of the timing.
        values: all readings.
    """

    time_s: float
    values: tuple[float, ...]


class Sampling:
    """Samples of one block, the first and last at its start and end.

    Args:
        read: raises MeterError on failure.
        interval_s: seconds between two readings.
        timing: clock and pause.
    """

    def __init__(self, read: Callable[[], tuple[float, ...]], interval_s: float, timing: Timing) -> None:
        self._read = read
        self._interval_s = interval_s
        self._timing = timing
        self._samples: list[Sample] = []
        self._failure: MeterError | None = None
        self._stopped = threading.Event()
        # A daemon: it must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="energy meter", daemon=True)

    def start(self) -> None:
        """Take the first sample and start the thread.

        Raises:
            MeterError: the first sample cannot be read.
        """
        self._take()
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample; a failure is raised by `samples`."""
        self._stopped.set()
        self._thread.join()
        self._take_or_keep_failure()

    def samples(self) -> Sequence[Sample]:
        """All samples in order, at least two.

        Raises:
            MeterError: one could not be read.
        """
        if self._failure is not None:
            raise self._failure
        return self._samples

    def _run(self) -> None:
        while self._failure is None:
            self._timing.pause(self._stopped, self._interval_s)
            if self._stopped.is_set():
                return
            self._take_or_keep_failure()

    def _take_or_keep_failure(self) -> None:
        try:
            self._take()
        except MeterError as error:
            self._failure = error

    def _take(self) -> None:
        self._samples.append(Sample(self._timing.clock(), self._read()))


@contextmanager
def watch(sampling: Sampling, energy: Callable[[Sequence[Sample]], Energy]) -> Iterator[Measurement]:
    """Sample during a `with` block.

    Args:
        sampling: not started.
        energy: computed from the samples.
    """
    measurement = Measurement()
    sampling.start()
    try:
        yield measurement
    finally:
        sampling.stop()
        measurement.end(lambda: energy(sampling.samples()))
