"""A Ray cluster of two nodes on this machine, and an archive that takes it some seconds."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import bundles

ROWS, PARTITION = 1200, 60
LIMIT_S = 180.0  # for what is waited for; far more than it takes

Command = Callable[..., list[str]]


def write_table(path: Path, rows: int) -> None:
    """A Parquet file of images, one of them damaged, in row groups of a partition each."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra archive")
    from pyarrow import parquet  # noqa: PLC0415

    contents = []
    for pixels in bundles.images(40):
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((600, 600)).save(buffer, "PNG", compress_level=1)
        contents.append(buffer.getvalue())
    images = [contents[number % 40] for number in range(rows)]
    images[7] = b"no image"
    parquet.write_table(pyarrow.table({"image": images}), path, row_group_size=PARTITION)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle and an archive; it is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundles.write_tiny(tmp_path / "tiny.gfd")
    write_table(tmp_path / "images.parquet", ROWS)
    return tmp_path


def archive_command(output: str, *more: str) -> list[str]:
    """The command that classifies it."""
    words = ("archive", "tiny.gfd", "images.parquet", "-o", output, "--precision", "fp32")
    return [sys.executable, "-m", "gfnet_dynn", *words, "--partition-size", str(PARTITION), *more]


def published(output: str) -> dict[str, bytes]:
    """The partitions that are finished, by name."""
    return {path.name: path.read_bytes() for path in sorted(Path(output).glob("*.parquet"))}


@pytest.fixture
def expected(work: Path) -> dict[str, bytes]:
    """What one process on this machine writes."""
    done = subprocess.run(archive_command("local", "--workers", "1"), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr  # for the image that is none
    return published("local")


class Cluster:
    """Nodes of one processor each, as processes of this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster  # noqa: PLC0415

        self._room = {"num_cpus": 1, "object_store_memory": 100 << 20}
        self._cluster: Any = RayCluster(initialize_head=True, head_node_args={**self._room, "include_dashboard": False})
        self.second: Any = self._cluster.add_node(**self._room)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def kill_second(self) -> None:
        self._cluster.remove_node(self.second, allow_graceful=False)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes."""
    pytest.importorskip("ray", reason="the extra cluster")
    found = Cluster()
    yield found
    found.shutdown()


def workers() -> list[int]:
    """Processes of Ray that have a partition in hand."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if (each / "cmdline").read_bytes().startswith(b"ray::classified"):
                found.append(int(each.name))
        except OSError:  # it has ended
            continue
    return found


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait, while a driver runs."""
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def started(command: Sequence[str]) -> subprocess.Popen[str]:
    """A driver that runs."""
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
