"""Runs a function in several processes that train together, as torchrun would start them, forked from this one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from gfnet_dynn.train.engine.device import make_fabric

_Result = TypeVar("_Result")

PATIENCE_S = 120.0


def run_together(work: Callable[[], _Result], size: int = 2) -> list[_Result]:
    """What `work` returns in each process, or the exception that it raises there; fails where one does not end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    started: list[tuple[Any, Connection]] = []
    for rank in range(size):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_take_part, args=(work, rank, size, port, sender))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of forking where threads are
            process.start()
        sender.close()
        started.append((process, receiver))
    try:
        return [_received(receiver) for _, receiver in started]
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _take_part(work: Callable[[], object], rank: int, size: int, port: int, sender: Connection) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()}, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    try:
        make_fabric("cpu", "32-true")
        result: object = work()
    except BaseException as error:
        result = error
    sender.send_bytes(pickle.dumps(result))  # tensors by value, as their sender ends
    os._exit(0)  # as if killed: what the test runner registered for its end is not this process's


def _received(receiver: Connection) -> Any:
    if not receiver.poll(PATIENCE_S):
        raise AssertionError(f"a process has not ended within {PATIENCE_S:.0f} s")
    return pickle.loads(receiver.recv_bytes())
