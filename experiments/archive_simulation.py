"""A hundred nodes with failures, simulated: how long an archive takes, and how much is done twice, by partition size.

    python experiments/archive_simulation.py [SEEDS] [--write archive_simulation]

Estimated, not measured: nodes take partitions from one queue, as `gfnet-dynn archive` has it. A partition takes its
images times the seconds of one, spread as given, and a fixed part to open and publish it. Nodes fail at random
(exponential), lose the partitions in hand, and come back after a while with their runtimes to open; the driver fails
too, loses what all nodes have in hand, and is started again. Ideal is the time of all images on all workers without any
of this. What one image and one partition take is by the figures of archive_costs.json where that is there.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from figures import ROOT, arguments, write_figures

HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """What is simulated; times in seconds.

    Attributes:
        image_s: of one image on one worker.
        partition_s: fixed part of a partition.
        start_s: until a worker has its runtime.
        spread: standard deviation of a partition's time, as a share of it.
        node_mtbf_s: mean time until a node fails.
        notice_s: until others take over what it had.
        repair_s: until it is back.
        driver_mtbf_s: mean time until the driver fails.
        restart_s: until the driver runs again.
    """

    nodes: int = 100
    workers: int = 16  # of each node
    images: int = 100_000_000
    partition: int = 10_000  # images
    image_s: float = 1 / 150
    partition_s: float = 0.05
    start_s: float = 10.0
    spread: float = 0.2
    node_mtbf_s: float = 24 * HOUR
    notice_s: float = 30.0
    repair_s: float = 600.0
    driver_mtbf_s: float = 72 * HOUR
    restart_s: float = 300.0

    @property
    def ideal_s(self) -> float:
        """All images on all workers, nothing else."""
        return self.images * self.image_s / (self.nodes * self.workers)


@dataclass(frozen=True)
class Outcome:
    """One simulated run."""

    seconds: float
    redone: float  # time of partitions that were lost, as a share of the time of those that count
    node_failures: int
    driver_failures: int
    most_redone_each: int  # partitions in hand that one failure lost, at most


def simulate(cluster: Cluster, seed: int) -> Outcome:
    """Run one archive to its end."""
    return _Simulation(cluster, np.random.default_rng(seed)).run()


class _Simulation:
    """Events in the order of time: a worker that is free, a node or the driver that fails."""

    def __init__(self, cluster: Cluster, generator: np.random.Generator) -> None:
        self._cluster, self._generator = cluster, generator
        self._left = math.ceil(cluster.images / cluster.partition)  # partitions that nobody has in hand
        self._hands: list[dict[int, float]] = [{} for _ in range(cluster.nodes)]  # worker: since when
        self._lives = [0] * cluster.nodes  # how often a node came up: events of an earlier life count for nothing
        self._events: list[tuple[float, str, int, int, int]] = []
        self._lost_s = self._kept_s = 0.0
        self._failures = {"node": 0, "driver": 0}
        self._most_lost = 0
        self._paused_until = 0.0
        self._idle: set[tuple[int, int]] = set()

    def run(self) -> Outcome:
        cluster, now = self._cluster, 0.0
        for node in range(cluster.nodes):
            self._start(node, cluster.start_s)
        self._plan(self._next(cluster.driver_mtbf_s), "driver")
        while self._left or any(self._hands):
            now, kind, node, worker, life = heapq.heappop(self._events)
            if kind == "driver":
                self._driver_fails(now)
            elif life == self._lives[node]:
                self._node_fails(now, node) if kind == "node" else self._done(now, node, worker)
        return Outcome(
            now, self._lost_s / self._kept_s, self._failures["node"], self._failures["driver"], self._most_lost
        )

    def _next(self, mean_s: float) -> float:
        return float(self._generator.exponential(mean_s))

    def _plan(self, at: float, kind: str, node: int = -1, worker: int = -1) -> None:
        heapq.heappush(self._events, (at, kind, node, worker, self._lives[node] if node >= 0 else 0))

    def _start(self, node: int, at: float) -> None:
        self._plan(at + self._next(self._cluster.node_mtbf_s), "node", node)
        for worker in range(self._cluster.workers):
            self._plan(at, "free", node, worker)

    def _done(self, now: float, node: int, worker: int) -> None:
        """A worker has finished what it had, if anything, and takes the next partition."""
        since = self._hands[node].pop(worker, None)
        if since is not None:
            self._kept_s += now - since
        if self._left:
            self._left -= 1
            self._hands[node][worker] = now
            self._plan(now + self._partition_s(), "free", node, worker)
        else:
            self._idle.add((node, worker))

    def _partition_s(self) -> float:
        cluster = self._cluster
        spread = math.sqrt(math.log1p(cluster.spread**2))  # of a lognormal distribution with that deviation and mean 1
        factor = float(self._generator.lognormal(-(spread**2) / 2, spread))
        return cluster.partition_s + cluster.partition * cluster.image_s * factor

    def _lose(self, now: float, nodes: Sequence[int]) -> None:
        """What these have in hand waits again."""
        lost = [since for node in nodes for since in self._hands[node].values()]
        self._lost_s += sum(now - since for since in lost)
        self._left += len(lost)
        self._most_lost = max(self._most_lost, len(lost))
        for node in nodes:
            self._hands[node].clear()
            self._lives[node] += 1
            self._idle -= {(node, worker) for worker in range(self._cluster.workers)}

    def _node_fails(self, now: float, node: int) -> None:
        self._failures["node"] += 1
        self._lose(now, [node])
        for other, worker in sorted(self._idle)[: self._left]:
            self._idle.remove((other, worker))
            self._plan(now + self._cluster.notice_s, "free", other, worker)
        self._start(node, max(now + self._cluster.repair_s, self._paused_until) + self._cluster.start_s)

    def _driver_fails(self, now: float) -> None:
        self._failures["driver"] += 1
        nodes = range(self._cluster.nodes)
        self._lose(now, nodes)
        self._paused_until = now + self._cluster.restart_s
        for node in nodes:
            self._start(node, self._paused_until + self._cluster.start_s)
        self._plan(self._paused_until + self._next(self._cluster.driver_mtbf_s), "driver")


def summary(cluster: Cluster, seeds: int) -> dict[str, Any]:
    """Median and range over seeds."""
    found = [simulate(cluster, seed) for seed in range(seeds)]
    hours = [each.seconds / HOUR for each in found]
    return {
        "hours": median(hours),
        "hours_range": [min(hours), max(hours)],
        "ideal_hours": cluster.ideal_s / HOUR,
        "share_of_ideal": median(cluster.ideal_s / each.seconds for each in found),
        "redone_share": median(each.redone for each in found),
        "redone_share_largest": max(each.redone for each in found),
        "node_failures": median(each.node_failures for each in found),
        "driver_failures": median(each.driver_failures for each in found),
        "most_partitions_lost_at_once": max(each.most_redone_each for each in found),
    }


def measured() -> Cluster:
    """The cluster with the times of the experiment archive_costs."""
    path = ROOT / "docs" / "results" / "archive_costs.json"
    if not path.exists():
        return Cluster()
    costs = json.loads(path.read_text(encoding="utf-8"))["policies"]["full"]
    # What a partition costs may be less than the noise, which then makes it negative.
    return Cluster(image_s=costs["image_s"], partition_s=max(0.0, costs["partition_s"]), start_s=costs["start_s"])


def main() -> None:
    """Simulate partition sizes, and kinds of nodes."""
    given = arguments(seeds=5)
    base = measured()
    figures = {
        "command": f"python experiments/archive_simulation.py {given.seeds} --write archive_simulation",
        "kind": "estimated by simulation",
        "cluster": asdict(base),
        "runs": [
            {
                "images": images,
                "partition": partition,
                "node_mtbf_hours": mtbf,
                **summary(replace(base, images=images, partition=partition, node_mtbf_s=mtbf * HOUR), given.seeds),
            }
            for images in (100_000_000, 1_000_000_000)
            for mtbf in (24, 1)
            for partition in (1_000, 10_000, 100_000)
        ],
    }
    write_figures(figures, given.write)


if __name__ == "__main__":
    main()
