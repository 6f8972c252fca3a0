"""Load a service on the loopback address: throughput, latency and memory; then deadlines at twice its capacity.

    python experiments/serve_load.py UCM/val [SECONDS] [--write serve_load]

1. For each policy, 64 clients send one image at a time for SECONDS, each as soon as its last one is answered. Then, in
   turns of ten seconds, the same and the bare runtime loop, `classify_each` with as many threads: the median ratio.
2. Requests arrive at random (Poisson), at twice the rate that the full network reached, each with a deadline; once the
   service may lower exits, and once with each of several lengths of the queue where it may only reject: the best is
   compared. `in_time`: share answered within the deadline, as the client sees it.

Clients, service and loop share the processors of this machine, so all figures are of that.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from figures import arguments, write_figures

from gfnet_dynn.benchmark.result import Machine
from gfnet_dynn.evaluation.labelled_folder import find_labelled
from gfnet_dynn.runtime import load

MODEL, PRECISION, THREADS = "aerial", "fp32", 1
POLICIES = ("full", "1-point")
CLIENTS = 64
TURNS, TURN_SECONDS = 5, 10.0
BATCHES = (1, 8)  # of the bare loop: its default, and the service's
BOUND_S = 1.0  # --time-limit-s of the service: no accepted image may take longer
DEADLINE_MS = 300.0  # of a client; the service is told 50 ms less, for the way back
WAY_BACK_MS = 50.0
LOAD_SECONDS = 20.0
CONNECTIONS = 256
REJECTING_QUEUES = (8, 16, 32, 256)


@dataclass(frozen=True)
class Example:
    """An image file as a request, and the class that it shows."""

    content: bytes
    label: str


@dataclass
class Tally:
    """What clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    answers: list[tuple[bool, str, str | None, float]] = field(default_factory=list)  # right, exit, lowered, seconds
    sent: int = 0

    def add(self, example: Example, status: str, body: bytes, seconds: float) -> None:
        """One answer."""
        self.statuses[status] += 1
        if status != "200":
            return
        self.seconds.append(seconds)
        (found,) = msgspec.json.decode(body)["predictions"]
        self.answers.append((found["label"] == example.label, found["exit"], found["lowered"], seconds))

    def accuracy(self, within_s: float = np.inf) -> float:
        """Of the answers that came in time."""
        return float(np.mean([right for right, _, _, seconds in self.answers if seconds <= within_s]))


def main() -> None:
    """Measure both."""
    given = arguments("val", seconds=60)
    classifier = load(MODEL, precision=PRECISION, threads=THREADS)
    labelled = find_labelled(given.val, classifier.manifest.classes)
    names = [classifier.manifest.classes[label] for label in labelled.labels]
    examples = [Example(file.read_bytes(), name) for file, name in zip(labelled.files, names, strict=True)]
    saturated = {each: saturate(each, examples, list(labelled.files), given.seconds) for each in POLICIES}
    rate = 2 * saturated["full"]["images_per_s"]
    lowering = overload(examples, rate, "--lower-exits")
    rejecting = {
        queue: overload(examples, rate, "--no-lower-exits", "--queue", str(queue)) for queue in REJECTING_QUEUES
    }
    best = max(rejecting.values(), key=lambda each: each["in_time"])
    figures = {
        "command": f"python experiments/serve_load.py UCM/val {given.seconds} --write serve_load",
        "machine": asdict(Machine.here(THREADS)),
        "model": f"{MODEL}, {PRECISION}, {THREADS} thread",
        "saturated": {"clients": CLIENTS, "bound_ms": 1e3 * BOUND_S, **saturated},
        "twice_the_capacity": {
            "arrivals_per_s": rate,
            "deadline_ms": DEADLINE_MS,
            "lowering": lowering,
            "rejection_by_queue": rejecting,
            "ratio_in_time": lowering["in_time"] / best["in_time"],
        },
    }
    write_figures(figures, given.write)


def saturate(policy: str, examples: Sequence[Example], files: list[Path], seconds: float) -> dict[str, Any]:
    """The service under as many clients as it can answer, beside the bare loop."""
    with serving("--time-limit-s", str(BOUND_S), "--no-lower-exits") as (process, port):
        asyncio.run(closed_loop(port, policy, examples, 3.0))  # memory settles
        rss = [resident_mib(process)]
        tally = asyncio.run(closed_loop(port, policy, examples, seconds))
        rss.append(resident_mib(process))
    turns = [in_turn(policy, examples, files) for _ in range(TURNS)]
    return {
        "images_per_s": len(tally.seconds) / seconds,
        "share_of_bare": {f"batch {batch}": median(each[batch] for each in turns) for batch in BATCHES},
        "share_of_bare_by_turn": {f"batch {batch}": [each[batch] for each in turns] for batch in BATCHES},
        "statuses": dict(tally.statuses),
        "median_ms": 1e3 * median(tally.seconds),
        "p99_ms": 1e3 * float(np.quantile(tally.seconds, 0.99)),
        "largest_ms": 1e3 * max(tally.seconds),
        "rss_mib": rss,
        "rss_growth": rss[1] / rss[0] - 1,
        "accuracy": tally.accuracy(),
    }


def in_turn(policy: str, examples: Sequence[Example], files: list[Path]) -> dict[int, float]:
    """Images per second of the service, as a share of the loop's by its batch, one straight after the other."""
    bare = bare_rates(policy, files)
    with serving("--time-limit-s", str(BOUND_S), "--no-lower-exits") as (_, port):
        asyncio.run(closed_loop(port, policy, examples, 2.0))
        tally = asyncio.run(closed_loop(port, policy, examples, TURN_SECONDS))
    return {batch: len(tally.seconds) / TURN_SECONDS / rate for batch, rate in bare.items()}


def bare_rates(policy: str, files: list[Path]) -> dict[int, float]:
    """Images per second of the runtime alone, from file to label, by batch: in a process of its own."""
    code = (
        "import sys, time; from pathlib import Path; from gfnet_dynn.runtime import load\n"
        f"c = load({MODEL!r}, precision={PRECISION!r}, threads={THREADS}); files = list(map(Path, sys.argv[3:]))\n"
        "b, policy = int(sys.argv[1]), sys.argv[2]; list(c.classify_each(files[:64], policy=policy, batch=b))\n"
        "t = time.perf_counter(); n = 0\n"
        "while time.perf_counter() - t < 10: n += len(list(c.classify_each(files, policy=policy, batch=b)))\n"
        "print(n / (time.perf_counter() - t))"
    )
    rates = {}
    for batch in BATCHES:
        line = [sys.executable, "-c", code, str(batch), policy, *map(str, files)]
        rates[batch] = float(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return rates


def overload(examples: Sequence[Example], rate: float, *options: str) -> dict[str, Any]:
    """The service with requests at twice its capacity, each with a deadline."""
    with serving("--policy", "full", *options) as (_, port):
        asyncio.run(closed_loop(port, "full", examples, 3.0))
        tally = asyncio.run(open_loop(port, examples, rate, LOAD_SECONDS))
    in_time = [each for each in tally.answers if each[3] <= DEADLINE_MS / 1e3]
    return {
        "sent": tally.sent,
        "in_time": len(in_time) / tally.sent,
        "accuracy_in_time": tally.accuracy(DEADLINE_MS / 1e3),
        "right_in_time": sum(each[0] for each in in_time) / tally.sent,
        "statuses": dict(tally.statuses),
        "exits": dict(sorted(Counter(each[1] for each in in_time).items())),
        "lowered": {str(key): count for key, count in Counter(each[2] for each in in_time).items()},
    }


@contextmanager
def serving(*more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service in a process of its own, and its port."""
    line = [sys.executable, "-m", "gfnet_dynn", "serve", MODEL, "--precision", PRECISION, "--threads", str(THREADS)]
    line += ["--port", "0", "--no-maps", *more]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening on" not in (told := process.stderr.readline()):
            assert told, "the service did not start"
        try:
            yield process, int(told.strip().rpartition(":")[2])
        finally:
            process.terminate()
            process.communicate()


def resident_mib(process: subprocess.Popen[str]) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def request_of(example: Example, query: str) -> bytes:
    """Its bytes."""
    head = f"POST /classify?top=1&{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    return f"{head}Content-Length: {len(example.content)}\r\n\r\n".encode() + example.content


class Connection:
    """Sends one request after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[str, bytes]:
        """Status and body; a connection that was idle for so long that the service ended it is opened again."""
        try:
            return await self._ask(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._streams = None
            return await self._ask(request)

    async def _ask(self, request: bytes) -> tuple[str, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head[9:12].decode(), await reader.readexactly(length)

    def close(self) -> None:
        """End it."""
        if self._streams:
            self._streams[1].close()


async def closed_loop(port: int, policy: str, examples: Sequence[Example], seconds: float) -> Tally:
    """Clients that each wait for an answer before the next request."""
    tally, end = Tally(), time.perf_counter() + seconds
    requests = [request_of(each, f"policy={policy}") for each in examples]

    async def client(seed: int) -> None:
        connection, chance = Connection(port), random.Random(seed)
        while (began := time.perf_counter()) < end:
            at = chance.randrange(len(examples))
            status, body = await connection.ask(requests[at])
            tally.add(examples[at], status, body, time.perf_counter() - began)
        connection.close()

    await asyncio.gather(*(client(seed) for seed in range(CLIENTS)))
    return tally


async def open_loop(port: int, examples: Sequence[Example], rate: float, seconds: float) -> Tally:
    """Requests at random times, whatever has been answered."""
    tally, chance = Tally(), random.Random(0)
    requests = [request_of(each, f"deadline_ms={DEADLINE_MS - WAY_BACK_MS:g}") for each in examples]
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(CONNECTIONS):
        free.put_nowait(Connection(port))

    async def ask(at: int, due: float) -> None:
        connection = await free.get()
        status, body = await connection.ask(requests[at])
        free.put_nowait(connection)
        tally.add(examples[at], status, body, time.perf_counter() - due)

    due, end, asked = time.perf_counter(), time.perf_counter() + seconds, set[asyncio.Task[None]]()
    while due < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.add(asyncio.create_task(ask(chance.randrange(len(examples)), due)))
        tally.sent += 1
        due += chance.expovariate(rate)
    await asyncio.gather(*asked)
    return tally


if __name__ == "__main__":
    main()
