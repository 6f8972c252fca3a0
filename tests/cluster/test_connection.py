from __future__ import annotations

import socket
import time
from collections.abc import Mapping

import pytest

from gfnet_dynn.errors import EngineError, OptionError

pytest.importorskip("ray", reason="the extra cluster")

from gfnet_dynn.cluster import connection  # it imports Ray
from gfnet_dynn.cluster.connection import WorkerNeeds, slots

GIB = 2.0**30


def with_nodes(monkeypatch: pytest.MonkeyPatch, *resources: Mapping[str, float]) -> None:
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "memory": 64 * GIB}}
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, gone])


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (WorkerNeeds(1), 4 + 3),
        (WorkerNeeds(2), 2 + 1),
        (WorkerNeeds(4), 1),
        (WorkerNeeds(1, int(GIB)), 2 + 3),
        (WorkerNeeds(8), 0),
    ],
)
def test_a_worker_runs_on_one_node_and_never_on_the_rest_of_two(
    monkeypatch: pytest.MonkeyPatch, needs: WorkerNeeds, expected: int
) -> None:
    with_nodes(monkeypatch, {"CPU": 4.0, "memory": 2.5 * GIB}, {"CPU": 3.0, "memory": 8 * GIB}, {"memory": 8 * GIB})
    assert slots(needs) == expected


def test_needs_that_no_node_meets_are_told_with_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    with_nodes(monkeypatch, {"CPU": 4.0, "memory": 2 * GIB}, {"CPU": 2.0, "memory": 3 * GIB})
    with pytest.raises(OptionError, match=r"--threads 1 and --memory 4G.*largest has 4 processors and 3G"):
        connection._require_room(WorkerNeeds(1, int(4 * GIB)))


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "localhost:port"])
def test_where_nobody_listens_it_is_told_at_once(address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(EngineError, match="no Ray cluster answers at --address"):
        connection._require_listener(address.format(port=port))
    assert time.monotonic() - began < connection._CONNECT_S


def test_a_listener_and_names_of_ray_are_left_to_ray() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection._require_listener(f"127.0.0.1:{server.getsockname()[1]}")
    connection._require_listener("auto")
