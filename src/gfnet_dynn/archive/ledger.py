"""The folder of answers: what run it belongs to, and which of its partitions are finished.

Files whose names begin with `_` or `.` are none of the table, to all that read folders of Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gfnet_dynn.archive.output import read_summary
from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.result import ArchiveResult
from gfnet_dynn.archive.tally import ArchiveSummary, summed
from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import (
    make_folder,
    one_at_a_time,
    remove_abandoned,
    require_writable,
    write_json,
)
from gfnet_dynn.system.structured import structured_file

RECORD, SUMMARY, ANSWERS = "_archive.json", "_summary.json", "part-*.parquet"

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.part")  # as `storage` names them


_DIGESTS = {
    "images": "images (files were added, removed or changed in size, or it is another source)",
    "partitions": "partitions (another --partition-size)",
    "bundle": "bundle (its content is another)",
}


@dataclass(frozen=True)
class Record:
    """What decides the answers of a run: one that continues it must have the same.

    Attributes:
        program: version.
        images: what was listed: its digest.
        partitions: how they are cut: a digest.
        bundle: digest.
        policy: name, and the digest of its thresholds.
        precision: of the network.
        runtime: name and version of the inference engine.
        decoding: of images.
        columns: of the table, and what names the rows.
        false_alarms: probability of one in a partition.
    """

    program: str
    images: str
    partitions: str
    bundle: str
    policy: str
    precision: str
    runtime: str
    decoding: str
    columns: str
    false_alarms: float


@contextmanager
def worked_in(output: Path) -> Iterator[None]:
    """While inside, no other driver is inside for the same folder; what killed workers left is removed.

    Raises:
        BusyError: another one is.
        StorageError: nothing can be written there.
    """
    if output.exists() and not output.is_dir():
        raise StorageError(f"{output} is a file: name a folder for the answers")
    require_writable(output.parent)
    with one_at_a_time(output, wait=False):
        require_writable(make_folder(output))
        for name in {found[1] for each in output.iterdir() if (found := _TEMPORARY.fullmatch(each.name))}:
            remove_abandoned(output / name)
        yield


def read_record(output: Path) -> Record | None:
    """What an earlier run in that folder was; None: there was none.

    Raises:
        StorageError: it is damaged, or the folder holds something else.
    """
    path = output / RECORD
    if path.exists():
        return structured_file(Record, path, StorageError)
    other = next((each.name for each in output.iterdir() if not each.name.startswith((".", "_"))), None)
    if other is not None:
        raise StorageError(f"{output} holds other files, such as {other}: choose an empty folder for the answers")
    return None


def begin(output: Path, record: Record, earlier: Record | None) -> None:
    """Write down what the run is, before its first partition; raises StorageError: the earlier one was another."""
    if earlier is None or not any(output.glob(ANSWERS)):  # a run that has no answers yet holds nobody to it
        write_json(output / RECORD, asdict(record))
        return
    for name in (each.name for each in fields(Record)):
        before, now = getattr(earlier, name), getattr(record, name)
        if before != now:
            described = _DIGESTS.get(name) or f"{name} ({str(before)[:60]}; now {str(now)[:60]})"
            raise StorageError(
                f"{output} holds the answers of another run, with other {described}: give the same source, model and "
                "options to continue it, or another --output"
            )


def unfinished(output: Path, partitions: Sequence[Partition]) -> list[Partition]:
    """Those whose file is not there."""
    there = {each.name for each in output.iterdir()}
    return [each for each in partitions if each.file_name not in there]


def summarise(output: Path, partitions: Sequence[Partition]) -> ArchiveSummary:
    """Counts of the finished ones, as their files state them; raises StorageError: one is damaged."""
    missing = {each.number for each in unfinished(output, partitions)}
    return summed(read_summary(output / each.file_name) for each in partitions if each.number not in missing)


def write_summary(result: ArchiveResult) -> None:
    """Write the summary of a finished run, in which all but `last_run` follows from the partitions."""
    path = result.output / SUMMARY
    if result.done_now or not path.exists():
        rate = {"images": result.done_now, "seconds": result.seconds, "images_per_s": result.images_per_s}
        write_json(path, {**result.to_dict(), "last_run": rate})
