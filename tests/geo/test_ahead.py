"""Work done ahead, and memory shared out."""

from __future__ import annotations

import threading
import time

import pytest

from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.geo.ahead import done_ahead, resident_bytes, share_memory

UNIT = 5 * 2**20


def test_results_come_in_order_and_from_another_thread() -> None:
    threads = set[str]()

    def work(item: int) -> int:
        threads.add(threading.current_thread().name)
        return item * item

    with done_ahead(work, range(20), 3) as results:
        assert list(results) == [item * item for item in range(20)]
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_begun_than_is_allowed(ahead: int) -> None:
    begun: list[int] = []
    with done_ahead(begun.append, range(50), ahead) as results:
        for taken in range(1, 10):
            next(results)
            assert len(begun) <= taken + ahead
    assert len(begun) < 50


@pytest.mark.parametrize("stop", [KeyboardInterrupt, DataError])
def test_no_work_runs_any_more_when_its_user_stops(stop: type[BaseException]) -> None:
    """The dataset that the work reads is closed next, and reading a closed one is a crash."""
    running, begun = threading.Lock(), threading.Event()

    def work(item: int) -> int:
        with running:
            if item:
                begun.set()
                time.sleep(0.2)
            return item

    with pytest.raises(stop) as caught, done_ahead(work, range(9), 4) as results:
        next(results)
        assert begun.wait(10)
        raise stop
    assert not running.locked()
    assert caught.value  # the traceback keeps every frame, as it does at the command line


def test_an_error_is_raised_where_its_result_is_asked_for() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise DataError("item 2")
        return item

    with done_ahead(work, range(9), 4) as results:
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(DataError, match="item 2"):
            next(results)


def test_more_memory_reads_further_ahead() -> None:
    resident = resident_bytes()
    assert resident > 10 * 2**20
    shares = [share_memory(resident + more * 2**20, UNIT) for more in (70, 90, 130, 1000)]
    assert [each.units_ahead for each in shares] == sorted(each.units_ahead for each in shares)
    assert shares[0].units_ahead < shares[-1].units_ahead == share_memory(None, UNIT).units_ahead
    for more, share in zip((70, 90, 130, 1000), shares, strict=True):
        assert share.cache_bytes + (share.units_ahead + 1) * UNIT <= more * 2**20


@pytest.mark.parametrize("unit_mib", [5, 20])
def test_the_cache_leaves_room_for_two_units(unit_mib: int) -> None:
    unit, resident = unit_mib * 2**20, resident_bytes()
    for more in range(48 + 8 + 2 * unit_mib + 2, 48 + 8 + 2 * unit_mib + 40):
        share = share_memory(resident + more * 2**20, unit)
        assert share.units_ahead >= 1
        assert share.cache_bytes + (share.units_ahead + 1) * unit <= (more - 48 + 1) * 2**20


def test_too_little_memory_says_how_much_is_needed() -> None:
    with pytest.raises(OptionError, match=r"give at least (\d+)M") as caught:
        share_memory(2**20, UNIT)
    needed = int(str(caught.value).split("at least ")[1].rstrip("M"))
    assert share_memory((needed + 20) * 2**20, UNIT).units_ahead >= 1
