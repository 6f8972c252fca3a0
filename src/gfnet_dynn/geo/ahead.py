"""Work done ahead by another thread, in order, and no more of it than memory allows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from gfnet_dynn.errors import OptionError

Item = TypeVar("Item")
Done = TypeVar("Done")

_MOST_AHEAD = 4  # units; one is enough where reading is as fast as the network
_CACHE = 64 * 2**20  # bytes of blocks that GDAL keeps
_SMALLEST_CACHE = 8 * 2**20
_RESERVE = 48 * 2**20  # for blending and writing, and for what the allocators of engine and system keep


@contextmanager
def done_ahead(work: Callable[[Item], Done], items: Iterable[Item], ahead: int) -> Iterator[Iterator[Done]]:
    """`work` of each item, in order, by one thread, up to `ahead` items in advance; raises what it does.

    However the block is left, no work runs any more, so that what it reads may be closed: to read a closed dataset is a
    crash.
    """
    pool, working, is_left = ThreadPoolExecutor(1), threading.Lock(), threading.Event()

    def guarded(item: Item) -> Done:
        with working:
            if is_left.is_set():
                raise CancelledError
            return work(item)

    try:
        yield _in_order(pool, guarded, items, ahead)
    finally:
        is_left.set()
        _wait_for(working)  # the pool's own shutdown forgets a thread during whose start the process is interrupted
        pool.shutdown(wait=False, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Done], items: Iterable[Item], ahead: int
) -> Iterator[Done]:
    waiting: deque[Future[Done]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _wait_for(working: threading.Lock) -> None:
    """Until the work in progress has ended, however often the user interrupts."""
    while True:
        try:
            with working:
                return
        except KeyboardInterrupt:
            continue


class MemoryShare(NamedTuple):
    """Units to prepare ahead, and bytes of GDAL's cache."""

    units_ahead: int
    cache_bytes: int


def share_memory(limit: int | None, unit_bytes: int) -> MemoryShare:
    """What fits into a limit of the whole process.

    To be asked when the model has run once, so that its memory is counted.

    Raises:
        OptionError: the limit is too low for the model and one unit.
    """
    if limit is None:
        return MemoryShare(_MOST_AHEAD, _CACHE)
    free = limit - resident_bytes() - _RESERVE
    fewest = 2 * unit_bytes + _SMALLEST_CACHE  # one is read while another is in the network
    if free < fewest:
        needed = -(-(limit - free + fewest) // 2**20)
        raise OptionError(f"--max-memory is too low for this model and scene: give at least {needed}M")
    cache = min(_CACHE, max(_SMALLEST_CACHE, min(free // 2, free - 2 * unit_bytes)))
    return MemoryShare(max(1, min(_MOST_AHEAD, (free - cache) // unit_bytes - 1)), cache)


def resident_bytes() -> int:
    """Memory of this process now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096
