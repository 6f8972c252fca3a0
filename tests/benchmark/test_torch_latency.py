from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gfnet_dynn.benchmark import in_torch as latency
from gfnet_dynn.benchmark.candidates import Identity, forced_thresholds
from gfnet_dynn.benchmark.in_torch import PublishedCandidate, measure_exits
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.exits import NEVER
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.gfnet import GFNet, GlobalFilter
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from gfnet_dynn.system.machine import processor

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> EarlyExitNet:
    torch.manual_seed(0)
    return EarlyExitNet(GFNet(GFNetSpec(width=8, depth=4, patch_size=4), 8), (0, 2), 3).eval()


def test_thresholds_that_force_an_exit() -> None:
    assert forced_thresholds(0, 3) == (0.0, NEVER, NEVER)
    assert forced_thresholds(2, 3) == (NEVER, NEVER, 0.0)
    assert forced_thresholds(3, 3) == (NEVER, NEVER, NEVER)
    assert forced_thresholds(0, 0) == ()


@pytest.mark.parametrize("exit_index", [0, 1, 2])
def test_a_forced_exit_is_really_taken(net: EarlyExitNet, exit_index: int) -> None:
    run: list[int] = []
    backbone, block = net.backbone, net.backbone.block

    def noting(index: int, features: Tensor) -> Tensor:
        run.append(index)
        return block(index, features)

    backbone.block = noting  # type: ignore[method-assign]
    decision = net.decide(IMAGES, forced_thresholds(exit_index, 2))
    assert decision.exits.tolist() == [exit_index] * 3
    assert run == [[0], [0, 1, 2], [0, 1, 2, 3]][exit_index]
    with torch.no_grad():
        expected = net(IMAGES).logits[:, exit_index]
    torch.testing.assert_close(decision.logits, expected)


def test_each_image_gets_a_time_for_each_exit(net: EarlyExitNet) -> None:
    rounds: list[int] = []
    milliseconds, setting = measure_exits(net, IMAGES, 2, lambda done, total: rounds.append(done))
    assert milliseconds.shape == (3, 3)
    assert np.isfinite(milliseconds).all()
    assert (milliseconds > 0).all()
    assert rounds == [1, 2]
    assert (setting["images"], setting["repeats"], setting["batch"]) == (3, 2, 1)


def test_the_median_over_the_rounds_counts(net: EarlyExitNet, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.arange(5.0)[:, None, None] * np.ones((5, 3, 3))
    times[4] = 1000.0
    monkeypatch.setattr(latency, "time_in_turns", lambda calls, images, repeats, on_step: times)
    assert measure_exits(net, IMAGES, 5)[0].tolist() == [[2.0] * 3] * 3


def test_a_call_ends_when_the_device_has_finished(net: EarlyExitNet, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(latency, "synchronise", lambda device: waited.append(device.type))
    measure_exits(net, IMAGES[:1], 1)
    assert waited == ["cpu"] * 3 * 2  # three exits, each warmed up once


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_an_accelerator_is_waited_for(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    latency.synchronise(torch.device(kind))
    assert waited == [kind]


def test_the_setting_describes_the_measurement(net: EarlyExitNet) -> None:
    _, setting = measure_exits(net, IMAGES, 2)
    assert setting["engine"] == f"torch {torch.__version__} eager"
    assert setting["device"] == f"cpu: {processor()}"
    assert setting["threads"] == torch.get_num_threads()
    assert "normalisation are not timed" in setting["scope"]


def test_the_published_way_runs_every_block_by_the_fft(net: EarlyExitNet) -> None:
    run: list[int] = []
    block = net.backbone.block

    def noting(index: int, features: Tensor) -> Tensor:
        run.append(index)
        return block(index, features)

    net.backbone.block = noting  # type: ignore[method-assign]
    spec = NetSpec(GFNetSpec(width=8, depth=4, patch_size=4), (0, 2), InputSpec(8), ("a", "b", "c"))
    policy = Policy("gates", "gate", (0.0, 0.0), "the first exit")
    about = Identity("net", "torch", "fp32", "gates", 8, 1, "", None, None)
    candidate = PublishedCandidate(net, spec, policy, about, trained=True)
    image = np.zeros((1, 8, 8, 3), np.uint8)
    assert candidate.decide(image) == 0
    assert run == [0, 1, 2, 3]
    assert not any(module.by_products for module in net.modules() if isinstance(module, GlobalFilter))
    assert [each.macs_share for each in candidate.exits] == [1.0]
