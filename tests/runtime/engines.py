"""Engines that watch or disturb a real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gfnet_dynn.runtime.engine import Array, Engine, EngineOptions, Graph, make_engine

ONE_THREAD = EngineOptions(threads=1)
ONNXRUNTIME = make_engine("onnxruntime", ONE_THREAD)


@dataclass
class Watched:
    """Compiles with onnxruntime, and notes of each segment how many images each call brought.

    Attributes:
        seen: for each segment that was compiled, the size of the batch at each call.
    """

    inner: Engine = ONNXRUNTIME
    seen: list[list[int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    def compile(self, graph: bytes) -> Graph:
        self.seen.append([])
        inner, note = self.inner.compile(graph), self.seen[-1].append

        def compute(array: Array) -> Sequence[Array]:
            note(len(array))
            return inner.run(array)

        return Graph(self.name, [inner.input], inner.outputs, compute)
