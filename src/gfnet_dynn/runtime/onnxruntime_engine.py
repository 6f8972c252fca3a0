"""The engine onnxruntime, part of the base install."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from gfnet_dynn.errors import EngineError
from gfnet_dynn.runtime.engine import EngineOptions, Graph, Port, reason

_KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
_FATAL_ONLY = 4  # errors are raised; onnxruntime's own log would only repeat them

_PROVIDERS = ["CPUExecutionProvider"]  # there is none to fall back to: trying prints to stdout


class OnnxRuntimeEngine:
    """Compiles for the CPU."""

    def __init__(self, options: EngineOptions) -> None:
        self.name = f"onnxruntime {ort.__version__}"
        ort.set_default_logger_severity(_FATAL_ONLY)  # of what belongs to no session, such as the search for devices
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = options.threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = _FATAL_ONLY
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")

    def compile(self, graph: bytes) -> Graph:
        """A session for one graph; raises EngineError if onnxruntime does not support it."""
        try:
            session = ort.InferenceSession(graph, self._options, providers=_PROVIDERS, enable_fallback=0)
            inputs, outputs = list(map(_port, session.get_inputs())), list(map(_port, session.get_outputs()))
        except Exception as error:  # its exceptions have no common base but this
            raise EngineError(f"{self.name} does not support this graph: {reason(error)}") from error
        session._model_bytes = None  # kept by onnxruntime for a fallback to other providers: twice the memory
        names = [port.name for port in outputs]
        return Graph("onnxruntime", inputs, outputs, lambda array: session.run(names, {inputs[0].name: array}))


def _port(argument: ort.NodeArg) -> Port:
    if argument.type not in _KINDS:
        raise EngineError(f"{argument.name} is a {argument.type}, which no segment has")
    sides = tuple(side if isinstance(side, int) else None for side in argument.shape)
    return Port(argument.name, np.dtype(_KINDS[argument.type]), sides)
