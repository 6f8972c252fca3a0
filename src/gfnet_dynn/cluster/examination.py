"""Before the work: can each node do it, and see the same files?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gfnet_dynn import __version__
from gfnet_dynn.archive.job import Job
from gfnet_dynn.archive.ledger import RECORD
from gfnet_dynn.archive.partition import Partition
from gfnet_dynn.archive.plan import require_readable
from gfnet_dynn.archive.work import PartitionWorker
from gfnet_dynn.cluster.connection import nodes
from gfnet_dynn.errors import EngineError, GFNetDynnError

_LIMIT_S = 300.0  # for a node to start a process and open the bundle
_SHOWN = 5  # nodes whose problems are told


def examine_nodes(job: Job, partitions: Sequence[Partition]) -> None:
    """Open the bundle, the output and some images of these partitions on every node.

    Raises:
        EngineError: a node has another bundle, engine or version, or does not see the files; says which node and why.
    """
    tried = (partitions[0], partitions[len(partitions) // 2])
    problems = [problem for problem in _asked(examined, job, tried, __version__) if problem]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise EngineError(f"not all nodes can do this work: {'; '.join(problems[:_SHOWN])}{more}")


def examined(job: Job, partitions: Sequence[Partition], version: str) -> str:
    """What is wrong in this process; empty: nothing."""
    if version != __version__:
        return f"gfnet-dynn {__version__} is installed, and {version} where the run began"
    if not (job.output / RECORD).exists():
        return f"it does not see {job.output}: name an --output that all nodes share"
    try:
        PartitionWorker(job)
        require_readable(job.source, partitions)
    except GFNetDynnError as error:
        return str(error)
    return ""


def _asked(function: Callable[..., str], *arguments: object) -> Iterator[str]:
    """What a function answers on each node, after the name of the node."""
    asked: list[tuple[str, Any]] = []
    for node in nodes():
        here = NodeAffinitySchedulingStrategy(str(node["NodeID"]), soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(function)
        asked.append((f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", task.remote(*arguments)))
    for name, answer in asked:
        try:
            found = ray.get(answer, timeout=_LIMIT_S)
        except GetTimeoutError:
            found = f"it did not answer within {_LIMIT_S:g} s"
        except RayError as error:  # such as a node without the package
            found = _reason(error)
        yield f"{name}: {found}" if found else ""


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"
