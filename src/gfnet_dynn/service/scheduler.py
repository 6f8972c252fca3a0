"""Runs tasks in batches that form across requests and again after each exit; lowers exits in place of rejecting.

One thread runs the segments. Tasks enter in the order of their deadlines. Those that continue after an exit wait until
they fill a batch of the next segment, or until nothing else is to be done, or until waiting would cost them time.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gfnet_dynn.exits import score_at, should_exit
from gfnet_dynn.runtime.engine import Array
from gfnet_dynn.runtime.segments import ExitOutputs, SegmentedNet
from gfnet_dynn.service.costs import SegmentCosts
from gfnet_dynn.service.ladder import Ladder, Level
from gfnet_dynn.service.problems import QueueFullError
from gfnet_dynn.service.task import Ending, Lowered, SeenExit, Task

_HOLD_BATCHES = 4  # of the first segment, that a task waits at most for company after an exit


class _Waiting(NamedTuple):
    """A task between two segments."""

    task: Task
    features: Array
    since: float


class Scheduler:
    """The queues of one network and the thread that empties them."""

    def __init__(self, net: SegmentedNet, costs: SegmentCosts, ladder: Ladder, queue: int) -> None:
        """`queue`: most tasks that wait or run."""
        self._net, self.costs, self._ladder, self._queue = net, costs, ladder, queue
        self._entering: list[tuple[float, int, Task]] = []
        self._between: list[list[_Waiting]] = [[] for _ in range(net.manifest.num_exits)]  # the first one stays empty
        self._order = itertools.count()
        self._pending = 0
        self._has_work = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)  # `close` lets it finish
        self._thread.start()

    @property
    def pending(self) -> int:
        """Tasks that wait or run."""
        return self._pending

    def expected_wait_s(self, level: Level) -> float:
        """Time until a task that enters now begins, if all that wait are answered at this level."""
        return self._pending * self._ladder.seconds(level)

    def level_for(self, levels: Sequence[Level], allowed_s: float) -> Level:
        """The first level with which what waits is answered soon enough; the last one if none is."""
        return next((each for each in levels if self.expected_wait_s(each) <= allowed_s), levels[-1])

    def require_room(self, images: int, levels: Sequence[Level]) -> None:
        """Raise QueueFullError where so many more would be refused now."""
        if self._pending + images > self._queue:
            raise QueueFullError(self._pending, self._queue, images, self.expected_wait_s(levels[-1]))

    def submit(self, tasks: Sequence[Task]) -> None:
        """Enqueue all tasks or none.

        Raises:
            QueueFullError: there is no room for all of them; says after how many seconds there may be.
        """
        with self._has_work:
            self.require_room(len(tasks), tasks[0].levels)
            for task in tasks:
                heapq.heappush(self._entering, (task.deadline, next(self._order), task))
            self._pending += len(tasks)
            self._has_work.notify()

    def close(self) -> None:
        """Finish what was accepted, and end the thread."""
        with self._has_work:
            self._is_closing = True
            self._has_work.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._has_work:
                while not self._pending:
                    if self._is_closing:
                        return
                    self._has_work.wait()
                segment = self._next_segment(time.perf_counter())
                tasks, features = self._taken(segment)
            if tasks:
                self._run(segment, tasks, features)

    def _next_segment(self, now: float) -> int:
        full = next((at for at in reversed(range(len(self._between))) if self._is_full(at)), None)
        if full is not None:
            return full
        first = min((at for at, waiting in enumerate(self._between) if waiting), default=0)
        if not self._entering:
            return next(at for at in reversed(range(len(self._between))) if self._between[at])
        hold = _HOLD_BATCHES * self.costs.seconds(0, self.costs.batch)
        urgent = (at for at in range(first, len(self._between)) if first and self._cannot_wait(at, now, hold))
        return next(urgent, 0)

    def _is_full(self, segment: int) -> bool:
        return len(self._between[segment]) >= self.costs.batch

    def _cannot_wait(self, segment: int, now: float, hold: float) -> bool:
        needed = self._seconds_to(segment)
        return any(now - each.since > hold or each.task.deadline - now < needed for each in self._between[segment])

    def _seconds_to(self, segment: int, more: int = 0) -> float:
        """Time of the next batch of a segment, with so many more than wait now, after a batch of those that enter."""
        entering = min(len(self._entering), self.costs.batch)
        first = self.costs.seconds(0, entering) if entering else 0.0
        return first + self.costs.seconds(segment, min(len(self._between[segment]) + more, self.costs.batch))

    def _taken(self, segment: int) -> tuple[list[Task], Array]:
        """A batch of tasks for a segment with its input; those that are gone or late end here."""
        if segment:
            waiting = self._between[segment]
            batch, self._between[segment] = waiting[: self.costs.batch], waiting[self.costs.batch :]
            alive = [each for each in batch if not self._has_ended(each.task)]
            return [each.task for each in alive], np.stack([each.features for each in alive]) if alive else np.empty(0)
        tasks: list[Task] = []
        while self._entering and len(tasks) < self.costs.batch:
            task = heapq.heappop(self._entering)[2]
            if not self._has_ended(task, self._least_s(task)):
                self._begin(task)
                tasks.append(task)
        return tasks, np.stack([task.image for task in tasks]) if tasks else np.empty(0)

    def _least_s(self, task: Task) -> float:
        """Time without which a task need not begin: that of the first exit, or of all that it may not do without.

        Between two segments of a task, another batch may pass the first one.
        """
        if task.may_hurry:
            return self.costs.seconds(0, 1)
        batch = min(self.costs.batch, self._pending)
        level = task.levels[0]
        return sum(
            share * (self.costs.seconds(at, batch) + self.costs.seconds(0, batch))
            for at, share in enumerate(self._ladder.reached(level.policy)[: level.last + 1])
        )

    def _has_ended(self, task: Task, needed_s: float = 0.0) -> bool:
        if task.is_gone:
            self._end(task, Ending.GONE)
        elif task.exit_index is None and time.perf_counter() + needed_s > task.deadline:
            if task.may_hurry and task.fall_back():
                self._end(task, Ending.ANSWERED)
            else:
                self.costs.forget()
                self._end(task, Ending.LATE)
        return task.ending is not None

    def _begin(self, task: Task) -> None:
        """Choose the level, by what waits now."""
        task.began = time.perf_counter()
        task.level = self.level_for(task.levels, task.patience_s)
        if task.level is not task.levels[0]:
            task.lowered = Lowered.LOAD

    def _run(self, segment: int, tasks: list[Task], features: Array) -> None:
        began = time.perf_counter()
        try:
            outputs = self._net.run(segment, features)
        except Exception as error:  # an engine may fail in any way; whoever waits is told, and the thread goes on
            for task in tasks:
                self._end(task, Ending.FAILED, error)
            return
        now = time.perf_counter()
        self.costs.observe(segment, len(tasks), now - began)
        scores = self._scores(segment, tasks, outputs)
        next_exit = now + self._seconds_to(segment + 1, len(tasks)) if outputs.features is not None else now
        for row, task in enumerate(tasks):
            score = None if scores is None else float(scores[row])
            if segment == 0 and outputs.distances is not None:
                task.distance = outputs.distances[row]
            stays = self._stays(task, segment, score)
            if not stays and task.exit_index is None and task.may_hurry and next_exit > task.deadline:
                task.lowered, stays = Lowered.DEADLINE, True
            is_answer = stays and task.exit_index is None
            task.take(SeenExit(segment, outputs.logits[row], score, is_answer))
            if outputs.features is not None and (task.exit_index is None or task.every_exit):
                self._between[segment + 1].append(_Waiting(task, outputs.features[row], now))
            else:
                self._end(task, Ending.ANSWERED)

    @staticmethod
    def _stays(task: Task, segment: int, score: float | None) -> bool:
        if score is None or (task.level is not None and segment >= task.level.last and not task.every_exit):
            return True
        return bool(should_exit(np.float32(score), task.policy.thresholds[segment]))

    def _scores(self, segment: int, tasks: Sequence[Task], outputs: ExitOutputs) -> Array | None:
        """The score of each task by its own policy, [B]; None at the final exit."""
        if outputs.gates is None:
            return None
        scores = np.empty(len(tasks), np.float32)
        for policy in {id(task.policy): task.policy for task in tasks}.values():
            rows = [row for row, task in enumerate(tasks) if task.policy is policy]
            earlier = np.array([tasks[row].labels for row in rows], np.intp).reshape(len(rows), segment)
            logits, gates = outputs.logits[rows], outputs.gates[rows]
            scores[rows] = score_at(policy.score, policy.fitted, segment, logits, gates, earlier)
        return scores

    def _end(self, task: Task, ending: Ending, error: Exception | None = None) -> None:
        with self._has_work:
            self._pending -= 1
        task.end(ending, error)
