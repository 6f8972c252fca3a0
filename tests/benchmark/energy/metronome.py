"""A clock for meters that a test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from gfnet_dynn.benchmark.energy.meter import Timing


class Metronome:
    """Lets the sampling thread pause `beats` times, each of which takes no time but moves the clock; then holds it.

    Args:
        beats: samples that the thread takes by itself.
        on_beat: called with the number of the beat, from 1, before its sample is taken.
    """

    def __init__(self, beats: int, on_beat: Callable[[int], None] = lambda beat: None) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self._beats = beats
        self._on_beat = on_beat
        self._over = threading.Event()
        self.timing = Timing(clock=lambda: self.now, pause=self._pause)

    def wait(self) -> None:
        """Until all beats are over."""
        assert self._over.wait(30)

    def _pause(self, stopped: threading.Event, seconds: float) -> None:
        if len(self.pauses) == self._beats:
            self._over.set()
            assert stopped.wait(30)
            return
        self.pauses.append(seconds)
        self.now += seconds
        self._on_beat(len(self.pauses))


def write(folder: Path, **contents: object) -> Path:
    """Files as sysfs shows them, each with a line's end."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(f"{content}\n", encoding="utf-8")
    return folder
