"""What the runtime asks of an inference engine, and the engines by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
    """How an engine may use the device.

    Attributes:
        threads: of one forward pass.
        spinning: let waiting threads keep the processor busy: faster where nothing else runs, twice as slow elsewhere.
    """

    threads: int
    spinning: bool = False

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise EngineError(f"an engine needs at least one thread, not {self.threads}")
        if self.threads > most_threads():
            raise EngineError(
                f"{self.threads} threads are more than this machine has use for: at most {most_threads()}, by its "
                "processors"
            )


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: its own.
        dtype: of the array.
        shape: None where it depends on the batch.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


class Graph(Protocol):
    """A compiled segment: one array in, arrays out."""

    @property
    def input(self) -> Port:
        """What goes in."""

    @property
    def outputs(self) -> Sequence[Port]:
        """What comes out, in order."""

    def run(self, array: Array) -> Sequence[Array]:
        """Compute all outputs for one input array; threads may share a graph.

        Raises:
            EngineError: the engine fails.
        """


class Engine(Protocol):
    """Compiles graphs."""

    @property
    def name(self) -> str:
        """With its version, such as `onnxruntime 1.32.0`."""

    def compile(self, graph: bytes) -> Graph:
        """Make an ONNX graph ready to run.

        Raises:
            EngineError: the engine cannot take it.
        """


DEFAULT_ENGINE = "onnxruntime"

_MOST_THREADS = 4

_ENGINES: Mapping[str, tuple[str, str]] = {  # name: module, class
    "onnxruntime": ("gfnet_dynn.runtime.onnxruntime_engine", "OnnxRuntimeEngine"),
    "openvino": ("gfnet_dynn.runtime.openvino_engine", "OpenVinoEngine"),
}

ENGINES = tuple(_ENGINES)
"""Engines that can be asked for."""


def make_engine(name: str, options: EngineOptions) -> Engine:
    """The engine of that name.

    Raises:
        EngineError: unknown, not startable, or the base install is not whole.
        MissingExtraError: the extra that brings it is not installed.
    """
    if name not in _ENGINES:
        raise EngineError(f"unknown engine '{name}': {nearest(name, _ENGINES)}")
    if find_spec(name) is None:
        if name == DEFAULT_ENGINE:
            raise EngineError(f"{name} is not installed, though the base install brings it: pip install {name}")
        raise MissingExtraError(f"the engine {name}", name)
    module, kind = _ENGINES[name]
    try:
        engine: Engine = getattr(import_module(module), kind)(options)
    except Exception as error:  # a wheel for another NumPy, a missing library, a folder of that name
        raise EngineError(f"{name} is installed but does not start: {error}; install it anew") from error
    return engine


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def most_threads() -> int:
    """How many threads may be asked for: beyond the machine's processors they only take from each other."""
    return max(_MOST_THREADS, os.cpu_count() or 1)


def default_threads() -> int:
    """At most four of the processors that this process may use: more gain nothing on networks of this size."""
    return min(_MOST_THREADS, available_processors())
