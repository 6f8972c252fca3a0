"""Archives of tables: Parquet files with a column of encoded images, as the Hugging Face Hub has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.places import Found, MissingFileError, find_all, opened
from gfnet_dynn.archive.source import Listing, Source, partition_images
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, ImageError, OptionError
from gfnet_dynn.progress import Log
from gfnet_dynn.system.storage import to_json

SUFFIXES = (".parquet",)

_USUAL = "image"
_ROWS_AT_ONCE = 64


class DamagedTableError(DataError):
    """A file that is no Parquet, or a damaged one."""


@dataclass(frozen=True)
class TableSource(Source):
    """Parquet files; an image's id is that of its row, or the name of the file and the number of the row from 0.

    Attributes:
        places: files, folders of them, or patterns; paths or URLs.
        partition_size: rows, in whole groups of rows; None: by their number.
        image_column: of bytes, or of structs with a field `bytes`; None: the one that there is.
        id_column: unique in the archive; None: see above.
    """

    places: tuple[str, ...]
    partition_size: int | None
    image_column: str | None = None
    id_column: str | None = None

    @property
    def title(self) -> str:
        """The places."""
        return ", ".join(self.places)

    def listed(self, store: Path, log: Log) -> Listing:
        """Read the footer of each file.

        Raises:
            DataError: unreachable, empty, no Parquet, or without a column of images.
            OptionError: there is no such column.
        """
        groups: list[tuple[Found, list[int]]] = []
        digest = hashlib.sha256()
        for file in find_all(self.places, SUFFIXES):
            with _table(file.uri) as table:
                self._check(table, file)
                rows = [table.metadata.row_group(index).num_rows for index in range(table.num_row_groups)]
            digest.update(to_json((file.name, file.size, rows)))
            groups.append((file, rows))
        size = partition_images(self.partition_size, sum(sum(rows) for _, rows in groups))
        partitions: list[Partition] = []
        for file, rows in groups:
            for start, stop in _ranges(rows, size):
                count = sum(rows[start:stop])
                partitions.append(Partition(len(partitions), (file.uri,), start, stop, count, file.name))
        if not partitions:
            raise DataError(f"the tables at {self.title} have no rows")
        return Listing(partitions, digest.hexdigest())

    def _check(self, table: pq.ParquetFile, file: Found) -> None:
        find_image_column(table.schema_arrow, self.image_column, file.uri)
        if self.id_column is not None and self.id_column not in table.schema_arrow.names:
            raise OptionError(
                f"{printable(file.uri)} has no column {self.id_column} for --id-column: it has "
                f"{', '.join(table.schema_arrow.names)}"
            )

    def items(self, partition: Partition) -> Iterator[Item]:
        """The rows of some groups; an item with the error for a group that is damaged, or a file that is gone."""
        (uri,) = partition.uris
        try:
            with _table(uri) as table:
                for group in range(partition.start, partition.stop):
                    yield from self._group(table, group, partition.name)
        except (MissingFileError, DamagedTableError) as error:
            yield Item(f"{partition.name}:{partition.start}", ImageError(str(error)))

    def _group(self, table: pq.ParquetFile, group: int, name: str) -> Iterator[Item]:
        column = find_image_column(table.schema_arrow, self.image_column, name)
        columns = [column, *filter(None, [self.id_column])]
        number = sum(table.metadata.row_group(index).num_rows for index in range(group))
        try:
            for batch in table.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns):
                for row in batch.to_pylist():
                    key = f"{name}:{number}" if self.id_column is None else str(row[self.id_column])
                    yield Item(key, _picture(row[column], column))
                    number += 1
        except Exception as error:
            problem = f"{_damage(name, error)}; the rows from {number} to the end of its group were not read"
            yield Item(f"{name}:{number}", ImageError(problem))


def find_image_column(schema: pa.Schema, wanted: str | None, uri: str) -> str:
    """The column of encoded images: the one that is wanted, else `image`, else the only one of that type.

    Raises:
        OptionError: there is no such column, or it holds something else; DataError: none, or several.
    """
    found = [str(each.name) for each in schema if _holds_images(each.type)]
    listed = ", ".join(f"{each.name} ({each.type})" for each in schema)
    if wanted is not None:
        if wanted not in found:
            raise OptionError(f"{printable(uri)} has no column {wanted} of encoded images: it has {printable(listed)}")
        return wanted
    if _USUAL in found:
        return _USUAL
    if len(found) != 1:
        what = "no column" if not found else "several columns"
        hint = "name another table" if not found else "choose one with --image-column"
        raise DataError(f"{printable(uri)} has {what} of encoded images ({printable(listed)}): {hint}")
    return found[0]


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_images(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _picture(cell: Any, column: str) -> bytes | ImageError:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else ImageError(f"column {column} holds no image in this row")


def _ranges(rows: list[int], size: int) -> Iterator[tuple[int, int]]:
    """First group, and the first that no longer belongs: of at most so many rows, but one group at least."""
    start, count = 0, 0
    for index, number in enumerate(rows):
        if index > start and count + number > size:
            yield start, index
            start, count = index, 0
        count += number
    if count:
        yield start, len(rows)


@contextmanager
def _table(uri: str) -> Iterator[pq.ParquetFile]:
    with opened(uri) as file:
        try:
            table = pq.ParquetFile(file)
        except Exception as error:
            raise _damage(uri, error) from error
        yield table


def _damage(name: str, error: Exception) -> DamagedTableError:
    """What pyarrow says of a damaged file, as a fault of that file; an error of the network is raised again."""
    of_network = isinstance(error, TimeoutError | ConnectionError | PermissionError)
    of_file = isinstance(error, pa.ArrowException | ValueError) or (isinstance(error, OSError) and not error.errno)
    if of_network or not of_file:
        raise error
    return DamagedTableError(f"cannot read {printable(name)} as Parquet: {printable(str(error).strip())}")
