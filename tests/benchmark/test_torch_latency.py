from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gfnet_dynn.benchmark import torch_latency as latency
from gfnet_dynn.benchmark.torch_latency import (
    exit_call,
    forced_exit,
    latency_setting,
    measure_calls,
    measure_exits,
)
from gfnet_dynn.exits.rule import NEVER
from gfnet_dynn.model.early_exit import Decision, EarlyExitNet
from gfnet_dynn.model.gfnet import GFNet
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.system.processor import processor

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> EarlyExitNet:
    torch.manual_seed(0)
    return EarlyExitNet(GFNet(GFNetSpec(width=8, depth=4, patch_size=4), 8), (0, 2), 3).eval()


class Clock:
    """Stands still but for what the calls add to it."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_thresholds_that_force_an_exit() -> None:
    assert forced_exit(0, 3) == (0.0, NEVER, NEVER)
    assert forced_exit(2, 3) == (NEVER, NEVER, 0.0)
    assert forced_exit(3, 3) == (NEVER, NEVER, NEVER)
    assert forced_exit(0, 0) == ()


@pytest.mark.parametrize("exit_index", [0, 1, 2])
def test_a_forced_exit_is_really_taken(net: EarlyExitNet, exit_index: int) -> None:
    run: list[int] = []
    backbone, segment = net.backbone, net.backbone.block

    def noting(index: int, features: Tensor) -> Tensor:
        run.append(index)
        return segment(index, features)

    backbone.block = noting  # type: ignore[method-assign]
    decision = exit_call(net, exit_index)(IMAGES)
    assert isinstance(decision, Decision)
    assert decision.exits.tolist() == [exit_index] * 3
    assert run == [[0], [0, 1, 2], [0, 1, 2, 3]][exit_index]
    with torch.no_grad():
        expected = net(IMAGES).logits[:, exit_index]
    torch.testing.assert_close(decision.logits, expected)


def test_each_image_gets_a_time_for_each_exit(net: EarlyExitNet) -> None:
    rounds: list[int] = []
    milliseconds, setting = measure_exits(net, IMAGES, 2, rounds.append)
    assert milliseconds.shape == (3, 3)
    assert np.isfinite(milliseconds).all()
    assert (milliseconds > 0).all()
    assert rounds == [1, 2]
    assert (setting.images, setting.repeats, setting.batch) == (3, 2, 1)


def test_the_median_over_the_rounds_counts(clock: Clock) -> None:
    """Each call of image r takes 10 r + 1 ms, or 2 ms for the other call, and 1 s in one round of five."""
    count = 0

    def slow(image: Tensor) -> None:
        nonlocal count
        count += 1
        disturbed = count in range(2 + 3 * 2 + 1, 2 + 3 * 3 + 1)  # the third round, after two warming calls
        clock.seconds += 1.0 if disturbed else (10 * float(image[0, 0, 0, 0]) + 1) / 1e3

    def steady(image: Tensor) -> None:
        clock.seconds += 0.002

    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    milliseconds = measure_calls([slow, steady], images, 5)
    np.testing.assert_allclose(milliseconds, [[1, 2], [11, 2], [21, 2]], atol=1e-6)


def test_calls_take_turns_image_by_image_after_warming_up() -> None:
    seen: list[tuple[str, int]] = []

    def call(name: str) -> Callable[[Tensor], object]:
        return lambda image: seen.append((name, int(image[0, 0, 0, 0])))

    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    shape = measure_calls([call("a"), call("b")], images, 2).shape
    warming = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    one_round = [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert seen == warming + 2 * one_round
    assert shape == (3, 2)


def test_what_is_before_and_after_a_call_is_not_timed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(device: torch.device) -> None:
        if not waited:
            clock.seconds += 5
        waited.append(device.type)

    waited: list[str] = []
    monkeypatch.setattr(latency, "_synchronise", wait)
    assert measure_calls([lambda image: None], IMAGES[:1], 1).tolist() == [[0.0]]
    assert waited == ["cpu", "cpu"]


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_an_accelerator_is_waited_for(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    latency._synchronise(torch.device(kind))
    assert waited == [kind]


def test_the_setting_says_how_it_was_measured() -> None:
    setting = latency_setting(IMAGES, 7)
    assert setting.engine == f"torch {torch.__version__} eager"
    assert setting.device == f"cpu: {processor()}"
    assert setting.threads == torch.get_num_threads()
    assert (setting.images, setting.repeats) == (3, 7)
    assert "before the clock starts" in setting.scope
