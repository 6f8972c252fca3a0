"""What a served model has done: counts since it was loaded, and shares and times of its latest answers."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfnet_dynn.service.task import Ending, Lowered, Task

_LATEST = 1_000


@dataclass(frozen=True)
class Latest:
    """The latest answers, at most a thousand.

    Attributes:
        exit_shares: of each exit, [G + 1]; zeros where there are no answers.
        median_ms: from arrival in the queue to the answer; None: no answers.
        p99_ms: likewise.
    """

    exit_shares: tuple[float, ...]
    median_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Totals:
    """Answers since the model was loaded: by exit, [G + 1], and those that exited earlier than asked, by cause."""

    exits: tuple[int, ...]
    lowered: dict[str, int]


class ServiceFigures:
    """Counts tasks; several threads may share it."""

    def __init__(self, num_exits: int) -> None:
        self._num_exits = num_exits
        self._lock = threading.Lock()
        self._endings: Counter[str] = Counter()
        self._latest: deque[tuple[int, float]] = deque(maxlen=_LATEST)
        self._exits = [0] * num_exits
        self._lowered: Counter[str] = Counter()
        self.rejected = 0

    def count(self, task: Task) -> None:
        """A task has ended."""
        with self._lock:
            if task.ending is not None:
                self._endings[task.ending.value] += 1
            if task.ending is Ending.ANSWERED and task.exit_index is not None:
                self._exits[task.exit_index] += 1
                if task.lowered:
                    self._lowered[task.lowered.value] += 1
                self._latest.append((task.exit_index, 1e3 * (task.ended - task.arrived)))

    def reject(self, images: int) -> None:
        """The queue had no room."""
        with self._lock:
            self.rejected += images

    def endings(self) -> dict[str, int]:
        """Number of tasks by ending."""
        with self._lock:
            return {each.value: self._endings[each.value] for each in Ending}

    def totals(self) -> Totals:
        """Counts of answers."""
        with self._lock:
            return Totals(tuple(self._exits), {each.value: self._lowered[each.value] for each in Lowered})

    def latest(self) -> Latest:
        """Shares and times."""
        with self._lock:
            exits, times = [each[0] for each in self._latest], [each[1] for each in self._latest]
        shares = (
            np.bincount(exits, minlength=self._num_exits) / max(1, len(exits)) if exits else [0.0] * self._num_exits
        )
        return Latest(tuple(map(float, shares)), _quantile(times, 0.5), _quantile(times, 0.99))


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None
