"""Costly steps cut short: most of the time of tests of whole commands, and not what these tests are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from gfnet_dynn.train.stages import refit


@contextmanager
def quick_refits() -> Iterator[None]:
    """Closed-form fits with two ridges instead of three, and a few steps of L-BFGS instead of convergence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refit, "RIDGES", refit.RIDGES[1:])
        patch.setattr(refit, "_ITERATIONS", 5)
        yield


@cache
def _registry_type() -> tuple[Any, Any]:
    """torch.onnx's table of operators, and how it is made: once in this process for the same arguments."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # noqa: PLC0415 # takes seconds

    return ONNXRegistry, staticmethod(cache(ONNXRegistry.from_torchlib))


@contextmanager
def quick_exports() -> Iterator[None]:
    """Exports that do not make the table of operators anew for each segment, a third of their time."""
    registry, make_once = _registry_type()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", make_once)
        yield
