"""Small archives of each kind with the same images, and runs of them in this process."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gfnet_dynn.archive.job import Job, PartitionSummary
from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.result import ArchiveResult
from gfnet_dynn.archive.work import PartitionWorker
from gfnet_dynn.workflows import archive, archiving
from tests import bundles

COUNT = 25
BROKEN = 7
"""The image that cannot be decoded."""


def contents(count: int = COUNT) -> list[bytes]:
    """PNG files, one of which is broken."""
    files = []
    for pixels in bundles.images(count):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        files.append(file.getvalue())
    files[BROKEN] = b"\x89PNG\r\n\x1a\n of which nothing is left"
    return files


def folder(root: Path, count: int = COUNT) -> Path:
    """In two folders, with a file that is no image."""
    for number, content in enumerate(contents(count)):
        path = root / f"{number % 2}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "notes.md").write_text("none")
    return root


def shards(root: Path, files: int = 3) -> Path:
    """As WebDataset has them."""
    root.mkdir(parents=True)
    for shard in range(files):
        with tarfile.open(root / f"{shard:03}.tar", "w") as archive_file:
            for number, content in list(enumerate(contents()))[shard::files]:
                for suffix, each in (("png", content), ("cls", b"0")):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(each)
                    archive_file.addfile(member, io.BytesIO(each))
    return root


def table(path: Path, rows_a_group: int = 4, column: str = "image", *, nested: bool = True) -> Path:
    """As the Hugging Face Hub has them, or with a plain column of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells: list[Any] = [{"bytes": each, "path": None} if nested else each for each in contents()]
    names = [f"chip {number:04}" for number in range(COUNT)]
    pq.write_table(pa.table({column: cells, "name": names, "label": list(range(COUNT))}), path, rows_a_group)
    return path


def run_here(
    job: Job, partitions: Sequence[Partition], request: ArchiveRequest, stop: threading.Event
) -> Iterator[PartitionSummary]:
    """The work of one worker, without a process; a `RunPartitions`."""
    worker = PartitionWorker(job)
    for partition in partitions:
        if stop.is_set():
            return
        yield worker.run(partition)


Run = Callable[..., ArchiveResult]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run sources in this process, into `tmp_path/out`."""

    def start(*sources: Path | str, **options: Any) -> ArchiveResult:
        bundle = options.pop("bundle", None) or bundles.write_tiny(tmp_path / "tiny.gfd")
        more = {name: options.pop(name) for name in ("on_partition", "log", "stop") if name in options}
        options.setdefault("output", tmp_path / "out")
        request = ArchiveRequest(bundle=bundle, sources=tuple(map(str, sources)), **options)
        with monkeypatch.context() as here:
            here.setattr(archiving, "_engine", lambda request: run_here)
            return archive(request, **more)

    return start


def rows(output: Path) -> list[dict[str, Any]]:
    """All of them, in the order of the partitions."""
    return [row for path in sorted(output.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def files(output: Path) -> dict[str, bytes]:
    """The partitions by name."""
    return {path.name: path.read_bytes() for path in sorted(output.glob("part-*.parquet"))}
