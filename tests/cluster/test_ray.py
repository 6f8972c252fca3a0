"""`gfnet-dynn archive --engine ray` on a cluster of two nodes: the same rows as on one machine, whatever dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import bundles
from tests.cluster.conftest import LIMIT_S, Cluster, archive_command, published, started, wait_until, workers

pytestmark = pytest.mark.slow


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out + err


def test_two_nodes_write_what_one_process_writes(cluster: Cluster, expected: dict[str, bytes]) -> None:
    status, printed = ended(started(archive_command("ray", "--engine", "ray", "--address", cluster.address)))
    assert status == 2, printed  # for the image that is none
    assert "1 of 1200 images could not be read" in " ".join(printed.split())
    assert published("ray") == expected
    assert len(expected) == 20


def test_a_worker_then_a_node_are_killed_and_each_image_is_answered_once(
    cluster: Cluster, expected: dict[str, bytes]
) -> None:
    driver = started(archive_command("ray", "--engine", "ray", "--address", cluster.address))
    wait_until(lambda: len(published("ray")) >= 2 and workers(), driver)
    os.kill(workers()[0], signal.SIGKILL)
    wait_until(lambda: len(published("ray")) >= 6, driver)
    cluster.kill_second()
    assert len(published("ray")) < 20
    status, printed = ended(driver)
    assert status == 2, printed
    assert published("ray") == expected


def test_a_driver_that_is_killed_goes_on_and_does_nothing_twice(cluster: Cluster, expected: dict[str, bytes]) -> None:
    command = archive_command("ray", "--engine", "ray", "--address", cluster.address)
    driver = started(command)
    wait_until(lambda: len(published("ray")) >= 6, driver)
    driver.kill()
    driver.communicate()
    end = time.monotonic() + LIMIT_S
    while workers():  # Ray ends what a driver leaves behind
        assert time.monotonic() < end
        time.sleep(0.1)
    kept = {path: path.stat().st_ino for path in Path("ray").glob("*.parquet")}
    assert 6 <= len(kept) < 20
    status, printed = ended(started(command))
    assert status == 2, printed
    assert f"{60 * (20 - len(kept))} of them now" in " ".join(printed.split())
    assert {path: path.stat().st_ino for path in kept} == kept  # none was written again
    assert published("ray") == expected
    assert not list(Path("ray").glob(".*"))


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs a mount namespace: root, unshare"
)
def test_a_node_with_another_bundle_stops_the_run_at_the_start(cluster: Cluster, work: Path) -> None:
    bundles.write_tiny(work / "other.gfd", policies=(bundles.POLICIES[0], bundles.POLICIES[2]))
    ray = Path(sys.executable).with_name("ray")
    join = f"{ray} start --address {cluster.address} --num-cpus 1 --object-store-memory 100000000 --block"
    script = f"mount --bind other.gfd tiny.gfd && exec {join}"
    node = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        import ray as client  # noqa: PLC0415

        client.init(address=cluster.address, log_to_driver=False)
        end = time.monotonic() + LIMIT_S
        while sum(each["Alive"] for each in client.nodes()) < 3:
            assert time.monotonic() < end
            time.sleep(0.2)
        client.shutdown()
        status, printed = ended(started(archive_command("ray", "--engine", "ray", "--address", cluster.address)))
        assert status == 2
        assert "not all nodes can do this work" in printed
        assert "another bundle" in printed
        assert "Traceback" not in printed
        assert published("ray") == {}
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def test_more_than_a_node_has_is_refused_not_waited_for(cluster: Cluster, work: Path) -> None:
    status, printed = ended(
        started(archive_command("ray", "--engine", "ray", "--address", cluster.address, "--threads", "2"))
    )
    assert status == 2
    assert "no node of the cluster has room for a worker of --threads 2" in " ".join(printed.split())


def test_a_cluster_that_is_not_there_is_told(work: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster")
    status, printed = ended(started(archive_command("ray", "--engine", "ray", "--address", "127.0.0.1:9")))
    assert status == 2
    assert "no Ray cluster answers at --address 127.0.0.1:9" in " ".join(printed.split())
    assert "Traceback" not in printed
