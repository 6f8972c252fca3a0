"""The engine onnxruntime, part of the base install."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from gfnet_dynn.errors import EngineError
from gfnet_dynn.runtime.engine import Array, EngineOptions, Port

_KINDS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64}
_FATAL_ONLY = 4  # errors are raised; onnxruntime's own log would only repeat them

_PROVIDERS = ["CPUExecutionProvider"]  # there is none to fall back to: trying prints to stdout


class OnnxRuntimeEngine:
    """Compiles for the CPU."""

    def __init__(self, options: EngineOptions) -> None:
        ort.set_default_logger_severity(_FATAL_ONLY)  # of what belongs to no session, such as the search for devices
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = options.threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = _FATAL_ONLY
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")

    @property
    def name(self) -> str:
        """With its version."""
        return f"onnxruntime {ort.__version__}"

    def compile(self, graph: bytes) -> OnnxRuntimeGraph:
        """A session for one graph.

        Raises:
            EngineError: onnxruntime does not support it.
        """
        try:
            session = ort.InferenceSession(graph, self._options, providers=_PROVIDERS, enable_fallback=0)
            return OnnxRuntimeGraph(session)
        except Exception as error:  # its exceptions have no common base but this
            raise EngineError(f"{self.name} does not support this graph: {_first_line(error)}") from error


class OnnxRuntimeGraph:
    """One session."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        session._model_bytes = None  # kept by onnxruntime for a fallback to other providers: twice the memory
        inputs = [_port(each) for each in session.get_inputs()]
        if len(inputs) != 1:
            raise EngineError(f"a segment has one input, not {len(inputs)}")
        self.input = inputs[0]
        self.outputs = [_port(each) for each in session.get_outputs()]
        self._names = [port.name for port in self.outputs]

    def run(self, array: Array) -> Sequence[Array]:
        """All outputs for one input.

        Raises:
            EngineError: onnxruntime cannot compute them.
        """
        try:
            outputs: Sequence[Array] = self._session.run(self._names, {self.input.name: array})
        except Exception as error:  # as above
            raise EngineError(f"onnxruntime cannot run this graph: {_first_line(error)}") from error
        return outputs


def _port(argument: ort.NodeArg) -> Port:
    if argument.type not in _KINDS:
        raise EngineError(f"{argument.name} is a {argument.type}, which no segment has")
    sides = tuple(side if isinstance(side, int) else None for side in argument.shape)
    return Port(argument.name, np.dtype(_KINDS[argument.type]), sides)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
