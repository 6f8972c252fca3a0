"""Partitions as tasks of a Ray cluster.

Tasks, not actors and not a pipeline of Ray Data: what goes in is a few hundred bytes and what comes out is a summary,
so nothing of it is needed, and Ray itself does a task again whose process or node died. A process keeps its runtime
from task to task, as an actor would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from gfnet_dynn.archive.job import MOST_ATTEMPTS, Job, PartitionSummary
from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.work import PartitionWorker
from gfnet_dynn.cluster.connection import WorkerNeeds, cluster, slots
from gfnet_dynn.cluster.examination import examine_nodes
from gfnet_dynn.errors import DataError, GFNetDynnError, StorageError
from gfnet_dynn.runtime.engine import available_processors

_LOOK_S = 0.5  # between two looks at whether to stop
_AHEAD = 8  # tasks beyond those that there is room for: no worker waits for the next one, and an autoscaler sees them


def run_partitions(
    job: Job, partitions: Sequence[Partition], request: ArchiveRequest, stop: threading.Event
) -> Iterator[PartitionSummary]:
    """Run them on a Ray cluster; see `RunPartitions`.

    Raises:
        EngineError: there is no such cluster, or a node cannot do the work: it has another bundle, engine or version,
            or does not see the files.
        OptionError: no node has room for a worker.
    """
    needs = WorkerNeeds(request.threads, request.memory)
    here = request.workers or max(1, available_processors() // request.threads)
    with cluster(request.address, here, needs):
        examine_nodes(job, partitions)
        yield from _summaries(job, partitions, needs, request.workers, stop)


def _summaries(
    job: Job, partitions: Sequence[Partition], needs: WorkerNeeds, workers: int | None, stop: threading.Event
) -> Iterator[PartitionSummary]:
    task = ray.remote(
        num_cpus=needs.threads, memory=needs.memory, max_retries=MOST_ATTEMPTS - 1, retry_exceptions=[DataError]
    )(classified)
    shared, waiting, running = ray.put(job), iter(partitions), dict[Any, Partition]()
    while True:
        free = 0 if stop.is_set() else (workers or slots(needs) + _AHEAD) - len(running)
        running |= {task.remote(shared, each): each for each in islice(waiting, max(0, free))}
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_S)
        for each in done:
            yield _summary(each, running.pop(each))


def classified(job: Job, partition: Partition) -> PartitionSummary:
    """One partition, in a process of the cluster."""
    return _worker(job).run(partition)


@lru_cache(maxsize=1)
def _worker(job: Job) -> PartitionWorker:
    return PartitionWorker(job)


def _summary(reference: Any, partition: Partition) -> PartitionSummary:
    try:
        found: PartitionSummary = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, GFNetDynnError):
            raise error.cause from error
        raise RuntimeError(f"a worker failed at {partition.id}:\n{error}") from error
    except RayError as error:  # its process or node died
        raise StorageError(
            f"the worker of {partition.id} ({', '.join(partition.uris)}) died {MOST_ATTEMPTS} times, the last time so: "
            f"{str(error).strip().splitlines()[0]}; is memory short? Finished partitions are kept; run the same "
            "command again, with fewer --workers, or with --memory, which Ray reserves for each"
        ) from error
    return found
