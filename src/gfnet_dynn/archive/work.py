"""One worker: a compiled network, and partitions one after the other."""

from __future__ import annotations

from gfnet_dynn.archive.job import Job, PartitionSummary
from gfnet_dynn.archive.partition import Partition


class PartitionWorker:
    """Classifies partitions. To be opened once in a process or actor, which it serves alone."""

    def __init__(self, job: Job) -> None:
        """Open the bundle.

        Raises:
            BundleError: missing, damaged, or another one than the job's.
            EngineError: the engine cannot run it, or is of another version than the job's.
        """
        self._job = job

    def run(self, partition: Partition) -> PartitionSummary:
        """Read, classify and publish one partition, in the file that it names.

        Where two workers do the same partition, both write the same bytes.

        Raises:
            DataError: the partition cannot be read now, and nothing was written.
            EngineError: the network computes what is no number.
            StorageError: no space or no permission; nothing is published.
        """
        raise NotImplementedError
