"""From rows of JSON to a table in Parquet: the one place that knows pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gfnet_dynn.errors import StorageError

_ROWS_A_GROUP = 65_536  # what is in memory at once


def write_parquet(rows: Path, num_ranks: int) -> Path:
    """Write a table beside a file of JSON lines, with labels and probabilities of so many classes a row.

    Raises:
        StorageError: no space; the rows are kept.
    """
    table, schema = rows.with_name("table"), _schema(num_ranks)
    try:
        with rows.open(encoding="ascii") as lines, pq.ParquetWriter(table, schema) as writer:
            while group := [_record(json.loads(line), num_ranks) for line in islice(lines, _ROWS_A_GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema))
    except OSError as error:
        raise StorageError(
            f"cannot write {table}: {error.strerror or error}; free space, and continue with --resume"
        ) from error
    return table


def _schema(num_ranks: int) -> pa.Schema:
    ranked = [
        field
        for rank in range(1, num_ranks + 1)
        for field in ((f"label_{rank}", pa.string()), (f"probability_{rank}", pa.float64()))
    ]
    return pa.schema(
        [
            ("source", pa.string()),
            ("exit", pa.string()),
            ("macs", pa.int64()),
            *ranked,
            ("unknown", pa.bool_()),
            ("prediction_set", pa.list_(pa.string())),
            ("policy", pa.string()),
            ("policy_digest", pa.string()),
            ("precision", pa.string()),
            ("error", pa.string()),
        ]
    )


def _record(row: dict[str, Any], num_ranks: int) -> dict[str, Any]:
    """A row by column; what is not in it is null."""
    ranked = dict(_ranked(row.get("probabilities", {}), num_ranks))
    return {name: _text(value) for name, value in {**row, **ranked}.items()}


def _ranked(probabilities: dict[str, float], num_ranks: int) -> Iterator[tuple[str, Any]]:
    for rank, (label, value) in enumerate(islice(probabilities.items(), num_ranks), start=1):
        yield f"label_{rank}", label
        yield f"probability_{rank}", value


def _text(value: Any) -> Any:
    r"""A byte of a file name that is no UTF-8, which a column of text cannot hold, becomes `\udcff`."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
