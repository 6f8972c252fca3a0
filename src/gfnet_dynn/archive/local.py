"""Workers as processes of this machine: each is started anew, so that it shares nothing with the driver.

One pipe leads to each worker. A worker that is killed closes it, which says which partition is to be done again; a
driver that is killed closes all of them, and each worker ends after the partition in hand.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NoReturn, cast

from gfnet_dynn.archive.job import MOST_ATTEMPTS, Job, PartitionSummary
from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.errors import DataError, GFNetDynnError, MissingExtraError, StorageError
from gfnet_dynn.runtime.engine import available_processors

_LOOK_S = 0.5  # between two looks at whether to stop
_LEAVE_S = 5.0  # for a worker to end


@dataclass(frozen=True)
class _Failure:
    """An error of a worker, as it crosses the pipe."""

    kind: type[Exception]
    message: str

    def raised(self, partition: Partition) -> NoReturn:
        if issubclass(self.kind, GFNetDynnError) and not issubclass(self.kind, MissingExtraError):
            raise self.kind(self.message)
        raise RuntimeError(f"a worker failed at {partition.id}:\n{self.message}")


class _Worker:
    """A process, the pipe to it, and the partition in hand."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = cast(BaseProcess, context.Process(target=_serve, args=(job, theirs), daemon=True))
        self.process.start()
        theirs.close()  # so that its end is noticed here
        self.partition: Partition | None = None
        self.has_answered = False

    def give(self, partition: Partition) -> None:
        self.partition = partition
        with suppress(OSError):  # it was killed: the next look at the pipe finds that
            self.pipe.send(partition)

    def receive(self) -> PartitionSummary | _Failure | None:
        """What it sent; None: it was killed."""
        try:
            answer = cast("PartitionSummary | _Failure", self.pipe.recv())
        except (EOFError, OSError):
            self.process.join(_LEAVE_S)
            return None
        self.has_answered = True
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.join(_LEAVE_S)
        self.pipe.close()


def _serve(job: Job, pipe: Connection) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to all: the driver decides
    with suppress(EOFError, OSError):  # the driver has gone
        worker, partition = None, pipe.recv()
        while True:
            try:
                from gfnet_dynn.archive.work import PartitionWorker  # noqa: PLC0415 # needs what the driver does not

                worker = worker or PartitionWorker(job)
                answer: PartitionSummary | _Failure = worker.run(partition)
            except GFNetDynnError as error:
                answer = _Failure(type(error), str(error))
            except Exception as error:
                answer = _Failure(type(error), traceback.format_exc())
            pipe.send(answer)
            partition = pipe.recv()


def run_partitions(
    job: Job, partitions: Sequence[Partition], request: ArchiveRequest, stop: threading.Event
) -> Iterator[PartitionSummary]:
    """Run them in processes; see `RunPartitions`."""
    number = request.workers or max(1, available_processors() // request.threads)
    crew = _Crew(job, partitions, min(number, len(partitions)))
    try:
        yield from crew.summaries(stop)
    finally:
        crew.end()


class _Crew:
    """So many workers, and the partitions that none of them has in hand."""

    def __init__(self, job: Job, partitions: Sequence[Partition], workers: int) -> None:
        self._job, self._waiting = job, deque(partitions)
        self._attempts: Counter[int] = Counter()
        self._workers = [_Worker(job) for _ in range(workers)]

    def summaries(self, stop: threading.Event) -> Iterator[PartitionSummary]:
        while True:
            for worker in self._workers:
                if worker.partition is None and self._waiting and not stop.is_set():
                    worker.give(self._waiting.popleft())
            busy = {each.pipe: each for each in self._workers if each.partition}
            if not busy:
                return
            for pipe in wait(list(busy), _LOOK_S):
                if summary := self._received(busy[cast(Connection, pipe)]):
                    yield summary

    def _received(self, worker: _Worker) -> PartitionSummary | None:
        partition, worker_answer = worker.partition, worker.receive()
        assert partition is not None  # it is busy
        worker.partition = None
        if isinstance(worker_answer, PartitionSummary):
            return worker_answer
        self._attempts[partition.number] += 1
        again = self._attempts[partition.number] < MOST_ATTEMPTS
        if worker_answer is None:
            self._replace(worker, partition, again)
        elif not (again and issubclass(worker_answer.kind, DataError)):
            worker_answer.raised(partition)
        self._waiting.append(partition)
        return None

    def _replace(self, worker: _Worker, partition: Partition, again: bool) -> None:
        """Put another worker in the place of one that was killed; raises StorageError: the third for one partition."""
        worker.end()
        status = worker.process.exitcode
        if status is not None and status > 0 and not worker.has_answered:  # it failed by itself, before its work
            raise StorageError(
                f"a worker ended at its start, with status {status}; its message says why. Workers import the script "
                'that calls `archive`: the call must stand below `if __name__ == "__main__":`, and the script in a file'
            )
        if not again:
            raise StorageError(
                f"the worker of {partition.id} ({', '.join(partition.uris)}) was killed {MOST_ATTEMPTS} times, the "
                f"last time with status {status}: is memory short? Finished partitions are kept; run "
                "the same command again, with fewer --workers"
            )
        self._workers[self._workers.index(worker)] = _Worker(self._job)

    def end(self) -> None:
        """Kill all: what is not published is dropped."""
        for worker in self._workers:
            worker.end()
