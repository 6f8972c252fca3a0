"""The gate's statistics against their definitions, and where its gradient goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gfnet_dynn.model.early_exit import Gate, confidence_statistics


def test_the_statistics_follow_their_definitions() -> None:
    logits = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)) * 3
    for row, computed in zip(logits.double().numpy(), confidence_statistics(logits).numpy(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = p**2 / (p**2).sum()
        ranked = np.sort(p)[::-1]
        wanted = [ranked[0], -(p * np.log(p)).sum(), ranked[0] - ranked[1], -(q * np.log(q)).sum()]
        np.testing.assert_allclose(computed, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [50.0, 500.0, 1e6])
def test_a_certain_prediction_gives_finite_statistics(size: float) -> None:
    statistics = confidence_statistics(torch.tensor([[size, 0.0, -size]]))
    torch.testing.assert_close(statistics, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), rtol=0, atol=1e-6)


def test_the_gradient_of_a_gate_does_not_reach_the_prediction() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    gate = Gate()
    gate(logits).sum().backward()
    assert logits.grad is None
    assert gate.linear.weight.grad is not None
