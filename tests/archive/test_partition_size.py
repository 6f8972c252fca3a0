"""How many images a partition has where nobody says it: by their number, never by that of the workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gfnet_dynn.archive import source as source_module
from gfnet_dynn.archive.names import FolderSource, ListSource
from gfnet_dynn.archive.source import Listing, Source, partition_images
from gfnet_dynn.archive.tables import TableSource
from gfnet_dynn.progress import ignore_log


def sizes(source: Source, store: Path) -> list[int | None]:
    listing: Listing = source.listed(store, ignore_log)
    return [each.rows for each in listing.partitions]


@pytest.mark.parametrize(
    ("stated", "images", "expected"),
    [
        (None, 1, 1_000),
        (None, 500_000, 1_000),
        (None, 500_001, 2_000),
        (None, 4_999_999, 10_000),
        (None, 10**9, 10_000),
        (7, 10**9, 7),
    ],
)
def test_it_follows_from_their_number_unless_stated(stated: int | None, images: int, expected: int) -> None:
    assert partition_images(stated, images) == expected


@pytest.fixture
def few_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are enough, instead of hundreds, so that some thousand images have larger ones."""
    monkeypatch.setattr(source_module, "PARTITIONS", 2)


@pytest.mark.usefixtures("few_partitions")
@pytest.mark.parametrize(
    ("count", "expected"),
    [(999, [999]), (2_000, [1_000, 1_000]), (2_001, [2_000, 1]), (4_000, [2_000, 2_000]), (5_500, [3_000, 2_500])],
)
def test_lists_and_tables_are_cut_by_it(tmp_path: Path, count: int, expected: list[int]) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"/chips/{number}.png\n" for number in range(count)), encoding="utf-8")
    lists = ListSource(str(listed), None)
    assert sizes(lists, tmp_path) == expected
    names = [item.id for part in lists.listed(tmp_path, ignore_log).partitions for item in lists.items(part)]
    assert names == [f"/chips/{number}.png" for number in range(count)]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"image": [b""] * count}), path, row_group_size=100)
    whole_groups: Any = sizes(TableSource((str(path),), None), tmp_path)
    assert sum(whole_groups) == count
    assert max(whole_groups) <= expected[0]
    assert len(whole_groups) == len(expected)


@pytest.mark.usefixtures("few_partitions")
def test_a_folder_keeps_its_partitions_when_the_list_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "chips").mkdir()
    for number in range(2_100):
        (tmp_path / "chips" / f"{number}.png").touch()
    source = FolderSource(str(tmp_path / "chips"), None)
    first, second = (source.listed(tmp_path, ignore_log) for _ in range(2))
    assert first == second
    assert [each.rows for each in first.partitions] == [2_000, 100]
