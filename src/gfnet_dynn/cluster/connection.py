"""To a Ray cluster that runs, or to one that is started for a while on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from gfnet_dynn.errors import EngineError, OptionError

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it sends no statistics, unless the user wants it to
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default from now on; without it, each worker warns
}

_CONNECT_S = 10.0


@dataclass(frozen=True)
class WorkerNeeds:
    """What a worker reserves on its node.

    Attributes:
        threads: processors.
        memory: bytes; None: nothing is reserved.
    """

    threads: int = 1
    memory: int | None = None


@contextmanager
def cluster(address: str | None, workers: int, needs: WorkerNeeds) -> Iterator[None]:
    """While inside, this process is the driver of a Ray cluster.

    Args:
        address: of a cluster that runs, such as `auto` or HOST:6379; None: one is started on this machine.
        workers: of the cluster that is started.
        needs: of each worker.

    Raises:
        EngineError: nothing answers there, or it runs other versions of Python or Ray.
        OptionError: no node is large enough for one worker.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if address:
        _require_listener(address)
    here = {} if address else {"num_cpus": workers * needs.threads, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, RuntimeError, ValueError) as error:  # as it comes, by what is wrong
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        reason = str(error).partition("\n")[0]
        raise EngineError(f"cannot use {where}: {reason}; `ray status` says whether one runs") from error
    try:
        _require_room(needs)
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Ray itself would try for minutes; names such as `auto` are its own, and it answers at once."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"no Ray cluster answers at --address {address} ({error}): give HOST:PORT as `ray start` prints it, or auto"
        ) from error


def slots(needs: WorkerNeeds) -> int:
    """How many workers the cluster has room for now; nodes may come and go."""
    return sum(_room(each["Resources"], needs) for each in nodes())


def nodes() -> list[dict[str, Any]]:
    """The nodes that are alive."""
    return [each for each in ray.nodes() if each["Alive"]]


def _room(resources: dict[str, float], needs: WorkerNeeds) -> int:
    by_threads = int(resources.get("CPU", 0) // needs.threads)
    return min(by_threads, int(resources.get("memory", 0) // needs.memory)) if needs.memory else by_threads


def _require_room(needs: WorkerNeeds) -> None:
    """Ray would wait for ever for a node that is large enough."""
    if slots(needs):
        return
    largest = max((each["Resources"].get("CPU", 0) for each in nodes()), default=0)
    memory = max((each["Resources"].get("memory", 0) for each in nodes()), default=0)
    raise OptionError(
        f"no node of the cluster has room for a worker of --threads {needs.threads}"
        f"{f' and --memory {needs.memory / 2**30:.3g}G' if needs.memory else ''}: the largest has {largest:g} "
        f"processors and {memory / 2**30:.3g}G that Ray may reserve"
    )
