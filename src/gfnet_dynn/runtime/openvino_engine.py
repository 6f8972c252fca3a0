"""The engine openvino (extra `openvino`), often faster on Intel and ARM processors."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov

from gfnet_dynn.errors import EngineError
from gfnet_dynn.runtime.engine import Array, EngineOptions, Graph, Port, reason


class OpenVinoEngine:
    """Compiles for the CPU, in float32 where a graph is float32: its half-precision mode changes answers."""

    def __init__(self, options: EngineOptions) -> None:
        self.name = f"openvino {ov.get_version().split('-')[0]}"
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(options.threads),
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": "NO",  # pinned threads of several programs meet on one core
        }

    def compile(self, graph: bytes) -> Graph:
        """A compiled model for one graph; raises EngineError if openvino does not support it."""
        try:
            model = self._core.compile_model(self._core.read_model(graph), "CPU", self._settings)
            inputs, outputs = list(map(_port, model.inputs)), list(map(_port, model.outputs))
        except Exception as error:  # a name in the graph that is no text raises another kind than the rest
            raise EngineError(f"{self.name} does not support this graph: {reason(error)}") from error
        request, lock = model.create_infer_request(), Lock()  # threads take turns: it computes in one stream anyway

        def compute(array: Array) -> Sequence[Array]:
            with lock:
                results = request.infer({0: array}, share_inputs=True)
                return [np.array(results[index]) for index in range(len(outputs))]  # openvino uses its memory again

        return Graph("openvino", inputs, outputs, compute)


def _port(found: Any) -> Port:
    sides = tuple(None if side.is_dynamic else side.get_length() for side in found.partial_shape)
    return Port(found.any_name, np.dtype(found.element_type.to_dtype()), sides)
