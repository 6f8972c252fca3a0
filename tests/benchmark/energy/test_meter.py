from __future__ import annotations

import pytest

from gfnet_dynn.benchmark.energy.meter import Estimate


def test_an_estimate_is_the_power_over_the_time_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 14.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    done: list[str] = []
    assert Estimate("estimate", "all", "the user", 7.5).measure(lambda: done.append("work")) == (30.0, 4.0)
    assert done == ["work"]
