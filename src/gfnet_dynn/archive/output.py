"""The answers to a partition, as a Parquet file that is there complete or not at all.

The bytes depend on the answers and the version of pyarrow alone: no time, no host. What is constant in a partition but
known only at its end stands in each row; so rows wait in a temporary file without a name, and then are written.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gfnet_dynn.archive.job import PartitionSummary
from gfnet_dynn.errors import StorageError
from gfnet_dynn.runtime.promise import Promise
from gfnet_dynn.system.storage import replacing, to_json
from gfnet_dynn.system.structured import structured

_KEY = "gfnet-dynn"  # of the summary, in the footer
_BATCHES_A_GROUP = 512  # of rows as they were added
_IN_MEMORY = 8 * 2**20  # bytes of rows that wait there

COLUMNS: tuple[tuple[str, Any], ...] = (
    ("id", pa.string()),
    ("label", pa.string()),
    ("confidence", pa.float64()),
    ("exit", pa.string()),
    ("unknown", pa.bool_()),
    ("policy", pa.string()),
    ("promise", pa.string()),
    ("model", pa.string()),
    ("error", pa.string()),
)
"""Of each file, before those of its source."""


def schema_of(further: Sequence[Any]) -> pa.Schema:
    """With the further columns of a source, which are fields of pyarrow."""
    return pa.schema([*(pa.field(*each) for each in COLUMNS), *further])


class WaitingRows:
    """Rows of one partition, in memory or on disk, until the last one is there."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self.schema, self._file = schema, file
        self._writer = pa.ipc.new_stream(file, schema)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add some, without their promise; raises OSError."""
        records = [{name: _text(value) for name, value in row.items()} for row in rows]
        self._writer.write_table(pa.Table.from_pylist(records, self.schema))

    def groups(self, promise: Promise) -> Iterator[pa.Table]:
        """All rows, as groups of the file."""
        self._writer.close()
        self._file.seek(0)
        place = self.schema.get_field_index("promise")
        batches = (
            batch.set_column(place, "promise", pa.array([promise] * len(batch), pa.string()))
            for batch in pa.ipc.open_stream(self._file)
        )
        while waiting := list(islice(batches, _BATCHES_A_GROUP)):
            yield pa.Table.from_batches(waiting)


@contextmanager
def waiting_rows(output: Path, schema: pa.Schema) -> Iterator[WaitingRows]:
    """Room for the rows of a partition; raises StorageError, also for what is written inside."""
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(output)) as file:
            yield WaitingRows(file, schema)
    except OSError as error:
        raise _no_room(output, error) from error


def publish(path: Path, rows: WaitingRows, summary: PartitionSummary, metadata: Mapping[str, str]) -> None:
    """Write a partition and give it its name, in one step; raises StorageError: nothing is there."""
    described = {_KEY: to_json(asdict(summary)), **metadata}
    schema = rows.schema.with_metadata(described)
    try:
        with replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in rows.groups(summary.promise):
                writer.write_table(group.replace_schema_metadata(described), row_group_size=len(group))
    except OSError as error:
        raise _no_room(path, error) from error


def read_summary(path: Path) -> PartitionSummary:
    """What the footer of a finished partition says; raises StorageError: it is another file, or a damaged one."""
    try:
        described = pq.read_metadata(path).metadata[_KEY.encode()]
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged, or was not written by `gfnet-dynn archive`: remove it, and run the command again"
        ) from error
    return structured(PartitionSummary, json.loads(described), str(path), StorageError)


def _no_room(place: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {place}: {error.strerror or error}; finished partitions are kept: free space, and run the same "
        "command again"
    )


def _text(value: Any) -> Any:
    r"""A byte of a file name that is no UTF-8, which a column of text cannot hold, becomes `\udcff`."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
