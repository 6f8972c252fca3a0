"""The interface of an inference engine, and the engines by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
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
            raise EngineError(f"{self._engine} cannot run this graph: {_reason(error)}") from error


class Engine(Protocol):
    """Compiles graphs."""

    @property
    def name(self) -> str:
        """With its version, such as `onnxruntime 1.32.0`."""

    def compile(self, graph: bytes) -> Graph:
        """Compile an ONNX graph; raises EngineError if the engine does not support it."""


DEFAULT_ENGINE = "onnxruntime"

_MOST_THREADS = 4
_FATAL_ONLY = 4  # errors are raised; onnxruntime's own log would only repeat them
_KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}


@dataclass(frozen=True)
class _Compiler:
    name: str
    make: Callable[[bytes], Graph]

    def compile(self, graph: bytes) -> Graph:
        try:
            return self.make(graph)
        except Exception as error:  # as above
            raise EngineError(f"{self.name} does not support this graph: {_reason(error)}") from error


def _onnxruntime(options: EngineOptions) -> Engine:
    """Part of the base install."""
    import onnxruntime as ort  # noqa: PLC0415 # an engine is imported where it is used

    ort.set_default_logger_severity(_FATAL_ONLY)  # of what belongs to no session, such as the search for devices
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.log_severity_level = _FATAL_ONLY
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    providers = ["CPUExecutionProvider"]  # there is none to fall back to: trying prints to stdout

    def port(found: Any) -> Port:
        if found.type not in _KINDS:
            raise EngineError(f"{found.name} is a {found.type}, which no segment has")
        sides = tuple(side if isinstance(side, int) else None for side in found.shape)
        return Port(found.name, np.dtype(_KINDS[found.type]), sides)

    def make(graph: bytes) -> Graph:
        session = ort.InferenceSession(graph, settings, providers=providers, enable_fallback=0)
        session._model_bytes = None  # kept by onnxruntime for a fallback to other providers: twice the memory
        inputs, outputs = list(map(port, session.get_inputs())), list(map(port, session.get_outputs()))
        names = [each.name for each in outputs]
        return Graph("onnxruntime", inputs, outputs, lambda array: session.run(names, {inputs[0].name: array}))

    return _Compiler(f"onnxruntime {ort.__version__}", make)


def _openvino(options: EngineOptions) -> Engine:
    """An extra, often faster on Intel and ARM processors; in float32, as its half-precision mode changes answers."""
    import openvino as ov  # noqa: PLC0415 # as above

    core = ov.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": str(options.threads),
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": "NO",  # pinned threads of several programs meet on one core
    }

    def port(found: Any) -> Port:
        sides = tuple(None if side.is_dynamic else side.get_length() for side in found.partial_shape)
        return Port(found.any_name, np.dtype(found.element_type.to_dtype()), sides)

    def make(graph: bytes) -> Graph:
        model = core.compile_model(core.read_model(graph), "CPU", settings)
        request, lock = model.create_infer_request(), Lock()  # threads take turns: it computes in one stream anyway

        def compute(array: Array) -> Sequence[Array]:
            with lock:
                results = request.infer({0: array}, share_inputs=True)
                return [np.array(results[index]) for index in range(len(model.outputs))]  # it uses its memory again

        return Graph("openvino", list(map(port, model.inputs)), list(map(port, model.outputs)), compute)

    return _Compiler(f"openvino {ov.get_version().split('-')[0]}", make)


_ENGINES: Mapping[str, Callable[[EngineOptions], Engine]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}

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
    try:
        return _ENGINES[name](options)
    except Exception as error:  # a wheel for another NumPy, a missing library, a folder of that name
        raise EngineError(f"{name} is installed but does not start: {error}; install it again") from error


def _reason(error: Exception) -> str:
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
