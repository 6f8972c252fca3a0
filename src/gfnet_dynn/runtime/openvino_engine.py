"""The engine openvino (extra `openvino`), often faster on Intel and ARM processors."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov

from gfnet_dynn.errors import EngineError
from gfnet_dynn.runtime.engine import Array, EngineOptions, Port


class OpenVinoEngine:
    """Compiles for the CPU, in float32 where a graph is float32: its half-precision mode changes answers."""

    def __init__(self, options: EngineOptions) -> None:
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(options.threads),
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": "NO",  # pinned threads of several programs meet on one core
        }

    @property
    def name(self) -> str:
        """With its version."""
        return f"openvino {ov.get_version().split('-')[0]}"

    def compile(self, graph: bytes) -> OpenVinoGraph:
        """A compiled model for one graph.

        Raises:
            EngineError: openvino does not support it.
        """
        try:
            return OpenVinoGraph(self._core.compile_model(self._core.read_model(graph), "CPU", self._settings))
        except Exception as error:  # a name in the graph that is no text raises another kind than the rest
            raise EngineError(f"{self.name} does not support this graph: {str(error).strip()[:300]}") from error


class OpenVinoGraph:
    """One compiled model with its own request, which threads take in turns: openvino computes in one stream anyway."""

    def __init__(self, model: ov.CompiledModel) -> None:
        if len(model.inputs) != 1:
            raise EngineError(f"a segment has one input, not {len(model.inputs)}")
        self._request, self._lock = model.create_infer_request(), Lock()
        self.input = _port(model.inputs[0])
        self.outputs = [_port(each) for each in model.outputs]

    def run(self, array: Array) -> Sequence[Array]:
        """All outputs for one input, as arrays of their own: openvino uses its memory again at the next call.

        Raises:
            EngineError: openvino cannot compute them.
        """
        try:
            with self._lock:
                results = self._request.infer({0: array}, share_inputs=True)
                return [np.array(results[index]) for index in range(len(self.outputs))]
        except Exception as error:  # as above
            raise EngineError(f"openvino cannot run this graph: {str(error).strip()[:300]}") from error


def _port(found: Any) -> Port:
    sides = tuple(None if side.is_dynamic else side.get_length() for side in found.partial_shape)
    return Port(found.any_name, np.dtype(found.element_type.to_dtype()), sides)
