"""Workers as processes: the same answers, whatever their number and whatever is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gfnet_dynn.archive.job import PartitionSummary
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.result import ArchiveResult
from gfnet_dynn.errors import BundleError, StorageError
from gfnet_dynn.workflows import archive
from tests.archive.archives import COUNT, Run, files, folder, rows
from tests.bundles import write_tiny


def run_processes(tmp_path: Path, chips: Path, **options: Any) -> ArchiveResult:
    """Run for true, into `tmp_path/true`."""
    more = {name: options.pop(name) for name in ("on_partition", "stop") if name in options}
    bundle = write_tiny(tmp_path / "tiny.gfd")
    request = ArchiveRequest(bundle=bundle, sources=(str(chips),), output=tmp_path / "true", **options)
    return archive(request, **more)


def workers() -> list[int]:
    """Processes that this one started."""
    return [each.pid for each in multiprocessing.active_children() if each.pid]


def test_workers_give_the_answers_of_one(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips, partition_size=4)
    result = run_processes(tmp_path, chips, partition_size=4, workers=2)
    assert result.summary.rows == COUNT
    assert files(tmp_path / "true") == files(tmp_path / "out")
    assert not workers()


def test_a_killed_worker_is_replaced_and_its_partition_done_again(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips, partition_size=2)
    killed = list[int]()

    def kill(summary: PartitionSummary | None, done: int, total: int) -> None:
        if summary and not killed:
            killed.append(workers()[0])
            os.kill(killed[-1], signal.SIGKILL)

    result = run_processes(tmp_path, chips, partition_size=2, workers=1, on_partition=kill)
    assert len(killed) == 1
    assert result.summary.rows == COUNT
    assert files(tmp_path / "true") == files(tmp_path / "out")


@pytest.mark.slow
def test_a_partition_that_kills_each_worker_is_named(tmp_path: Path) -> None:
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            for each in workers():
                os.kill(each, signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(StorageError, match=r"part-00000 .* was killed 3 times"):
            run_processes(tmp_path, folder(tmp_path / "chips"), workers=1)
    finally:
        done.set()
        killer.join()


def test_a_script_without_its_guard_is_told_so(run: Run, tmp_path: Path) -> None:
    chips = folder(tmp_path / "chips")
    run(chips)  # which writes the bundle
    script = tmp_path / "script.py"
    script.write_text(
        "from gfnet_dynn.workflows import ArchiveRequest, archive\n"
        f"archive(ArchiveRequest(bundle={str(tmp_path / 'tiny.gfd')!r}, sources=[{str(chips)!r}], workers=1,\n"
        f"    output={str(tmp_path / 'answers')!r}))\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert 'below `if __name__ == "__main__":`' in last
    assert "memory" not in last


def test_an_error_of_a_worker_is_that_of_the_run(tmp_path: Path) -> None:
    def replace(summary: PartitionSummary | None, done: int, total: int) -> None:
        (tmp_path / "tiny.gfd").write_bytes(b"another file")

    with pytest.raises(BundleError, match=r"tiny\.gfd"):
        run_processes(tmp_path, folder(tmp_path / "chips"), workers=1, on_partition=replace)
    assert not workers()


def test_a_stop_finishes_what_is_in_hand(tmp_path: Path) -> None:
    stop = threading.Event()

    def set_stop(summary: PartitionSummary | None, done: int, total: int) -> None:
        if summary:
            stop.set()

    result = run_processes(
        tmp_path, folder(tmp_path / "chips"), partition_size=1, workers=1, on_partition=set_stop, stop=stop
    )
    assert result.summary.partitions == 1
    assert not result.is_complete
    assert len(files(tmp_path / "true")) == 1


def started(tmp_path: Path, chips: Path, output: str, *more: str) -> subprocess.Popen[str]:
    words = ["archive", str(tmp_path / "tiny.gfd"), str(chips), "-o", str(tmp_path / output), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "gfnet_dynn", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(output: Path, least: int) -> None:
    until = time.monotonic() + 60
    while len(list(output.glob("part*.parquet"))) < least and time.monotonic() < until:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_driver_loses_no_partition_and_the_same_command_ends_with_the_same_bytes(
    run: Run, tmp_path: Path, how: signal.Signals
) -> None:
    chips = folder(tmp_path / "chips", 1200)
    run(chips, partition_size=10)
    for least in (3, 40):
        process = started(tmp_path, chips, "true", "--partition-size", "10", "--workers", "2")
        wait_for(tmp_path / "true", least)
        process.send_signal(how)
        _, errors = process.communicate()
        assert process.returncode == (-9 if how == signal.SIGKILL else 130), errors
        if how == signal.SIGINT:
            assert "the same command continues" in errors
            assert "Traceback" not in errors
    assert least <= len(files(tmp_path / "true")) < 120
    process = started(tmp_path, chips, "true", "--partition-size", "10")
    _, errors = process.communicate()
    assert process.returncode == 2, errors  # one image is broken
    assert files(tmp_path / "true") == files(tmp_path / "out")
    assert not list((tmp_path / "true").glob(".part*"))
    assert len(rows(tmp_path / "true")) == 1200
