"""What every worker of a run needs to know."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.source import Source
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.runtime.promise import Promise


@dataclass(frozen=True)
class Job:
    """How partitions are classified. Small, and sent to other processes and nodes.

    Attributes:
        source: what they are read from.
        output: folder of the answers, which all workers reach under this path.
        bundle: path or name, as each worker finds it.
        bundle_sha256: of the bundle that all must have.
        policy: name of the exit policy; None: the bundle's default.
        threshold: replaces its thresholds.
        runtime: name of the inference engine.
        runtime_version: name and version that all must have.
        precision: `fp32` or `int8`, never `auto`: workers on different processors would choose differently.
        threads: of one worker.
        false_alarms: probability that the test for a shift raises a false alarm in a partition.
        decode: how images are decoded.
    """

    source: Source
    output: Path
    bundle: str
    bundle_sha256: str
    policy: str | None
    threshold: float | tuple[float, ...] | None
    runtime: str
    runtime_version: str
    precision: str
    threads: int = 1
    false_alarms: float = 0.01
    decode: DecodeOptions = DEFAULT


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of answers, which depend on these alone.

    Attributes:
        rows: images, those that could not be read included.
        classes: images by class, but for unknown ones.
        exits: images by exit taken.
        unknown: images out of distribution.
        errors: images that could not be read.
        first_errors: id and message of the first of these.
        macs: multiply-accumulates of all images.
        full_macs: the same, if each had gone through the full network.
    """

    rows: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    errors: int = 0
    first_errors: tuple[str, ...] = ()
    macs: int = 0
    full_macs: int = 0


@dataclass(frozen=True, kw_only=True)
class PartitionSummary(Counts):
    """Counts of one partition.

    Attributes:
        number: of the partition.
        promise: `holds`, `in doubt` or `none`.
    """

    number: int
    promise: Promise = "none"


RunPartitions = Callable[[Job, Sequence[Partition], ArchiveRequest, threading.Event], Iterator[PartitionSummary]]
"""Runs partitions somewhere, and yields their summaries as they are published, in any order.

The request says how many workers, and what they may use. When the event is set, no further partition is begun, and
those in hand are finished. Where the iterator is closed or interrupted, all workers end at once. A partition whose
worker is lost is given to another one, `MOST_ATTEMPTS` times in all.

Raises what `PartitionWorker` does, and StorageError for a partition whose workers are lost again and again.
"""

MOST_ATTEMPTS = 3
"""For one partition, of workers that are lost, or that cannot read it."""
