"""The interface of an inference engine, and the engines by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import EngineError, MissingExtraError, nearest

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine may use the device: threads of one forward pass, and whether waiting ones keep the processor busy.

    Spinning is faster where nothing else runs, and twice as slow elsewhere.
    """

    threads: int
    spinning: bool = False

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise EngineError(f"an engine needs at least one thread, not {self.threads}")
        if self.threads > most_threads():
            raise EngineError(f"{self.threads} threads are too many for this machine: at most {most_threads()}")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph, by its name there; of the shape, None depends on the batch."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class Graph:
    """A compiled segment: from one input to several outputs, in order. Several threads may run it at once."""

    def __init__(
        self, engine: str, inputs: Sequence[Port], outputs: Sequence[Port], compute: Callable[[Array], Sequence[Array]]
    ) -> None:
        """Check that there is one input; `compute` may raise anything, but what it returns must stay as it is."""
        if len(inputs) != 1:
            raise EngineError(f"a segment has one input, not {len(inputs)}")
        self.input, self.outputs = inputs[0], outputs
        self._engine, self._compute = engine, compute

    def run(self, array: Array) -> Sequence[Array]:
        """Compute all outputs for one input array; raises EngineError if the engine fails."""
        try:
            return self._compute(array)
        except Exception as error:  # engines raise classes without a common base
            raise EngineError(f"{self._engine} cannot run this graph: {reason(error)}") from error


class Engine(Protocol):
    """Compiles graphs."""

    @property
    def name(self) -> str:
        """With its version, such as `onnxruntime 1.32.0`."""

    def compile(self, graph: bytes) -> Graph:
        """Compile an ONNX graph; raises EngineError if the engine does not support it."""


DEFAULT_ENGINE = "onnxruntime"

_MOST_THREADS = 4

_ENGINES: Mapping[str, tuple[str, str]] = {  # name: module, class
    "onnxruntime": ("gfnet_dynn.runtime.onnxruntime_engine", "OnnxRuntimeEngine"),
    "openvino": ("gfnet_dynn.runtime.openvino_engine", "OpenVinoEngine"),
}

ENGINES = tuple(_ENGINES)
"""Their names."""


def make_engine(name: str, options: EngineOptions) -> Engine:
    """The engine of that name.

    Raises:
        EngineError: unknown, not installed though required, or it does not start.
        MissingExtraError: the optional engine is not installed.
    """
    if name not in _ENGINES:
        raise EngineError(f"unknown engine '{name}': {nearest(name, _ENGINES)}")
    if find_spec(name) is None:
        if name == DEFAULT_ENGINE:
            raise EngineError(f"{name} is not installed, though gfnet-dynn requires it: pip install {name}")
        raise MissingExtraError(f"the engine {name}", name)
    module, kind = _ENGINES[name]
    try:
        engine: Engine = getattr(import_module(module), kind)(options)
    except Exception as error:  # a wheel for another NumPy, a missing library, a folder of that name
        raise EngineError(f"{name} is installed but does not start: {error}; install it again") from error
    return engine


def reason(error: Exception) -> str:
    """What an engine says went wrong, on one line."""
    return " ".join(str(error).split())[:300]


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def most_threads() -> int:
    """The largest number of threads allowed: more than the machine's processors only slow each other down."""
    return max(_MOST_THREADS, os.cpu_count() or 1)


def default_threads() -> int:
    """At most four of the processors that this process may use: more do not help networks of this size."""
    return min(_MOST_THREADS, available_processors())
