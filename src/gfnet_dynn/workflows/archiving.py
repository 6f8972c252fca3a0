"""Classify an archive of any size, in partitions. Needs no torch; needs the extra `archive`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.errors import require_extra
from gfnet_dynn.progress import Log, ignore_log

if TYPE_CHECKING:
    from collections.abc import Generator

    from gfnet_dynn.archive.job import PartitionSummary, RunPartitions
    from gfnet_dynn.archive.plan import ArchivePlan
    from gfnet_dynn.archive.result import ArchiveResult

OnPartition = Callable[["PartitionSummary | None", int, int], None]
"""Called when a partition is published, with its summary, the number of finished ones and that of all; first with None
and those that were finished before."""


def archive(
    request: ArchiveRequest,
    *,
    on_partition: OnPartition = lambda summary, done, total: None,
    log: Log = ignore_log,
    stop: threading.Event | None = None,
) -> ArchiveResult:
    """Classify an archive into a folder of Parquet files, each partition exactly once.

    A partition is finished exactly when its file is there, so the same request continues an interrupted run, from
    whatever machine. An image that cannot be read is a row with its error. Where `stop` is set, partitions in hand are
    finished, and the result is not complete. A script that calls this must guard its own start by
    `if __name__ == "__main__"`, as workers are processes that import it.

    Raises:
        BundleError: missing, damaged, without that policy or precision, or another one at a worker.
        BusyError: another process works in the same output.
        DataError: the source cannot be reached, or has no image.
        EngineError: the engine cannot run the bundle.
        MissingExtraError: pyarrow or fsspec is not installed.
        ModelChoiceError: no bundle is named, and no built-in model follows from --gsd.
        OptionError: options that do not fit the source.
        StorageError: no space or no permission, another run's output, or workers that are killed again and again;
            finished partitions are kept.
    """
    require_extra("classification of an archive", "archive")
    from gfnet_dynn.archive.ledger import worked_in
    from gfnet_dynn.archive.plan import prepare

    run = _engine(request)
    with worked_in(request.output.absolute()):
        plan = prepare(request, log)
        return _run(plan, request, run, on_partition, stop or threading.Event())


def _engine(request: ArchiveRequest) -> RunPartitions:
    if request.engine == "local":
        from gfnet_dynn.archive.local import run_partitions
    else:
        require_extra("--engine ray", "cluster")
        from gfnet_dynn.cluster.tasks import run_partitions
    return run_partitions


def _run(
    plan: ArchivePlan, request: ArchiveRequest, run: RunPartitions, on_partition: OnPartition, stop: threading.Event
) -> ArchiveResult:
    from gfnet_dynn.archive.ledger import summarise, write_summary
    from gfnet_dynn.archive.result import ArchiveResult

    began, rows, total = time.monotonic(), 0, len(plan.partitions)
    done = total - len(plan.missing)
    on_partition(None, done, total)
    if plan.missing:
        running = cast("Generator[PartitionSummary, None, None]", run(plan.job, plan.missing, request, stop))
        with closing(running):  # no worker outlives the lock of the folder
            for summary in running:
                done, rows = done + 1, rows + summary.rows
                on_partition(summary, done, total)
    output = plan.job.output
    whole = summarise(output, plan.partitions)
    result = ArchiveResult(output, whole, total, rows, time.monotonic() - began)
    if result.is_complete:
        write_summary(result)
    return replace(result, output=request.output)
