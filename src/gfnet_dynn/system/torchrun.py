"""Where this process stands among those that torchrun started. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A process of several: its number among all and on its machine, 0-based, and how many there are of both."""

    rank: int
    local_rank: int
    processes: int
    local_processes: int

    @property
    def machines(self) -> int:
        """How many machines take part; torchrun starts equally many processes on each."""
        return self.processes // self.local_processes


def torchrun_place() -> Place | None:
    """By the environment that torchrun sets; None where it did not start this process, or started it alone."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    try:
        place = Place(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError):
        return None
    return place if place.processes > 1 else None


def is_first_process() -> bool:
    """Whether this process writes and prints: the only one, or the first of several."""
    place = torchrun_place()
    return place is None or place.rank == 0
