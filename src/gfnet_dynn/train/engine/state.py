"""The state of an unfinished stage on disk: complete, so that a resumed training gives the same weights.

One safetensors file, written in one step; nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct
from torch import Tensor

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import load_tensors, save_tensors
from gfnet_dynn.train.engine.optimisation import optimizer_tensors, restore_optimizer
from gfnet_dynn.train.stages.stage import Stage, below


@dataclass
class EpochTally:
    """Sums over the steps of an epoch so far; `seconds` without pauses between a stop and going on."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, float], images: int, seconds: float) -> None:
        """Take one step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.images += images
        self.seconds += seconds

    def metrics(self) -> dict[str, float]:
        """Mean losses by name, images per second and seconds."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        return {**means, "images_per_s": self.images / max(self.seconds, 1e-9), "seconds": self.seconds}


@dataclass(frozen=True)
class Position:
    """Where a stage stands: epoch and step to take next, 0-based; `finished` where it needs no further epoch."""

    epoch: int = 0
    step: int = 0
    finished: bool = False
    tally: EpochTally = field(default_factory=EpochTally)


class _Header(Struct, frozen=True, tag_field="format", tag="gfnet-dynn training state 1"):
    """What a state holds beside its tensors."""

    stage: str
    position: Position
    memory: dict[str, Any]
    precision: dict[str, Any]


@dataclass(frozen=True)
class _State:
    """All of a stage that is kept, on the CPU."""

    tensors: Mapping[str, Tensor]
    header: _Header


def save_state(path: Path, stage: Stage, position: Position) -> None:
    """Write network, optimisers and memory of a stage; where that fails (StorageError), an older state is intact."""
    state = _state(stage, position)
    save_tensors(path, state.tensors, state.header)


def _state(stage: Stage, position: Position) -> _State:
    memory, values = stage.memory()
    tensors: dict[str, Tensor] = {f"net/{name}": tensor for name, tensor in stage.context.net.state_dict().items()}
    tensors |= {f"memory/{name}": tensor for name, tensor in memory.items()}
    for name, optimizer in stage.optimizers.items():
        tensors |= {f"optimizer/{name}/{key}": value for key, value in optimizer_tensors(optimizer).items()}
    precision = stage.context.fabric.strategy.precision.state_dict()
    return _State(tensors, _Header(stage.name, position, values, precision))


def load_state(path: Path, stage: Stage) -> Position:
    """Put a stage back to where `save_state` left it; a CheckpointError where that is damaged or of another stage."""
    tensors, header = load_tensors(path, _Header)
    if header.stage != stage.name:
        raise CheckpointError(f"{path} is a state of the {header.stage} stage, not of {stage.name}")
    try:
        _restore(_State(tensors, header), stage)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is a state of another network or version: {error}") from error
    return header.position


def begin(path: Path, stage: Stage) -> Position:
    """Where a stage begins: where the state at `path` leaves it, or at its start.

    Only the first of several processes reads the state; the others take what it then has, weights that were drawn at
    random included. Errors as `load_state`, in all of them.
    """
    ranks = stage.context.ranks

    def found() -> Position:
        return load_state(path, stage) if path.is_file() else Position()

    if ranks.size == 1:
        return found()
    state = ranks.by_first(lambda: _on_cpu(_state(stage, found())))
    if not ranks.is_first:
        _restore(state, stage)
    return state.header.position


def _on_cpu(state: _State) -> _State:
    return _State({name: tensor.cpu() for name, tensor in state.tensors.items()}, state.header)


def _restore(state: _State, stage: Stage) -> None:
    stage.recall(below("memory/", state.tensors), state.header.memory)
    stage.context.net.load_state_dict(below("net/", state.tensors))
    for name, optimizer in stage.optimizers.items():
        restore_optimizer(optimizer, below(f"optimizer/{name}/", state.tensors))
    stage.context.fabric.strategy.precision.load_state_dict(state.header.precision)
