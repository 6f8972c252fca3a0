"""An archive on a Ray cluster of two nodes, and what is killed in the middle of it.

    python experiments/archive_cluster.py EuroSAT/val [CHIPS] [--write archive_cluster]

CHIPS images, those of the folder over and over under other ids, lie in Parquet tables of 2,000, one partition each.
They are classified by one machine (`--engine local`), then on a cluster whose two nodes are processes of this machine:
undisturbed; with a worker and later a whole node killed (SIGKILL); with the driver killed, and started again. Compared
are the files, byte by byte, and the ids. Needs the extra `cluster`. Prints JSON.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from figures import arguments, write_figures
from ray.cluster_utils import Cluster

from gfnet_dynn.benchmark.result import Machine
from gfnet_dynn.images.files import find_images

MODEL, PARTITION = "sentinel2", 2_000
LIMIT_S = 3_600.0
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}

Disturb = Callable[[subprocess.Popen[str], Path, Any], dict[str, Any]]


def main() -> None:
    """Measure and compare."""
    given = arguments("val", chips=50_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder / "chips", list(find_images(given.val).images), given.chips)
        local = run(folder, "local", "--engine", "local", "--workers", "2")
        whole = files(folder / "local")
        runs = {"undisturbed": nothing, "worker_then_node_killed": kill_worker_then_node, "driver_killed": kill_driver}
        found = {title: on_cluster(folder, title, disturb, whole) for title, disturb in runs.items()}
        figures = {
            "command": f"python experiments/archive_cluster.py EuroSAT/val {given.chips} --write archive_cluster",
            "machine": asdict(Machine.here(1)),
            "model": f"{MODEL}, fp32, 1 thread a worker, 2 workers",
            "chips": given.chips,
            "partitions": len(whole),
            "ids": {"rows": len(ids(folder / "local")), "different": len(set(ids(folder / "local")))},
            "local": local,
            "two_nodes": found,
        }
    write_figures(figures, given.write)


def write_tables(folder: Path, images: list[Path], chips: int) -> None:
    """Parquet files of one partition each."""
    folder.mkdir()
    contents = [path.read_bytes() for path in images]
    for start in range(0, chips, PARTITION):
        numbers = range(start, min(start + PARTITION, chips))
        table = pa.table(
            {"id": [f"{number:08d}" for number in numbers], "image": [contents[n % len(contents)] for n in numbers]}
        )
        pq.write_table(table, folder / f"{start:08d}.parquet", row_group_size=PARTITION)


def command(folder: Path, output: str, *more: str) -> list[str]:
    """Of the run."""
    words = ("archive", MODEL, str(folder / "chips"), "--kind", "tables", "--id-column", "id", "--precision", "fp32")
    return [sys.executable, "-m", "gfnet_dynn", *words, "-o", str(folder / output), *more]


def run(folder: Path, output: str, *more: str) -> dict[str, Any]:
    """A run that nothing disturbs."""
    began = time.monotonic()
    subprocess.run(command(folder, output, *more), check=True, capture_output=True)
    return {"seconds": time.monotonic() - began}


def files(output: Path) -> dict[str, bytes]:
    """The published partitions."""
    return {path.name: path.read_bytes() for path in sorted(output.glob("part-*.parquet"))}


def ids(output: Path) -> list[str]:
    """Of all rows."""
    return [str(each) for each in pq.read_table(output, columns=["id"])["id"].to_pylist()]


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.second = cluster.add_node(**NODE)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def on_cluster(folder: Path, title: str, disturb: Disturb, whole: dict[str, bytes]) -> dict[str, Any]:
    """One run, and whether its files are those of one machine."""
    began = time.monotonic()
    with two_nodes() as cluster:
        line = command(folder, title, "--engine", "ray", "--address", cluster.address)
        driver = started(line)
        told = disturb(driver, folder / title, cluster)
        if driver.poll() == -signal.SIGKILL:
            driver = started(line)
        printed = driver.communicate(timeout=LIMIT_S)
        if driver.returncode:
            sys.exit(f"{title}: {printed}")
    found = ids(folder / title)
    before = told.pop("before", {})
    replaced = sum((folder / title / name).stat().st_ino != inode for name, inode in before.items())
    more = {"published_before": len(before), "published_before_and_written_again": replaced} if before else {}
    return {
        "seconds_with_start_of_the_cluster": time.monotonic() - began,
        **told,
        "files_equal_those_of_one_machine": files(folder / title) == whole,
        "rows": len(found),
        "different_ids": len(set(found)),
        **more,
    }


def started(line: list[str]) -> subprocess.Popen[str]:
    """A driver."""
    return subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(partitions: int, output: Path, driver: subprocess.Popen[str]) -> None:
    """Until so many are published."""
    while len(list(output.glob("part-*.parquet"))) < partitions:
        if driver.poll() is not None:
            sys.exit(f"the driver ended: {driver.communicate()}")
        time.sleep(0.05)


def nothing(driver: subprocess.Popen[str], output: Path, cluster: Any) -> dict[str, Any]:
    """Leave it alone."""
    return {}


def kill_worker_then_node(driver: subprocess.Popen[str], output: Path, cluster: Any) -> dict[str, Any]:
    """After a fifth of the partitions, and after two fifths."""
    wait_for(5, output, driver)
    os.kill(workers()[0], signal.SIGKILL)
    wait_for(10, output, driver)
    cluster.remove_node(cluster.second, allow_graceful=False)
    return {"published_when_the_node_was_killed": len(files(output))}


def kill_driver(driver: subprocess.Popen[str], output: Path, cluster: Any) -> dict[str, Any]:
    """After two fifths."""
    wait_for(10, output, driver)
    in_hand = len(workers())
    driver.kill()
    driver.wait()
    while workers():
        time.sleep(0.05)
    before = {path.name: path.stat().st_ino for path in output.glob("part-*.parquet")}
    return {"in_hand_when_killed": in_hand, "before": before}


def workers() -> list[int]:
    """Processes of Ray with a partition in hand."""
    lines = {path.parent: path for path in Path("/proc").glob("[0-9]*/cmdline")}
    found = []
    for process, line in lines.items():
        try:
            if line.read_bytes().startswith(b"ray::classified"):
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


if __name__ == "__main__":
    main()
