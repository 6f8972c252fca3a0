"""The state of an unfinished stage on disk: complete, so that training goes on as if it had not stopped.

One safetensors file, written in one step; nothing is pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct
from torch import Tensor

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import load_tensors, save_tensors
from gfnet_dynn.train.engine.optimisation import optimizer_tensors, restore_optimizer
from gfnet_dynn.train.engine.tally import EpochTally
from gfnet_dynn.train.stages.stage import Stage, StageMemory


@dataclass(frozen=True)
class Position:
    """Where a stage stands: the next step to take.

    Attributes:
        epoch: 0-based.
        step: 0-based within the epoch.
        finished: the stage needs no further epoch.
        tally: what was counted in this epoch so far.
    """

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


def save_state(path: Path, stage: Stage, position: Position) -> None:
    """Write network, optimisers and memory of a stage.

    Raises:
        StorageError: no space or no permission; an older state is intact.
    """
    memory = stage.memory()
    tensors: dict[str, Tensor] = {f"net/{name}": tensor for name, tensor in stage.context.net.state_dict().items()}
    tensors |= {f"memory/{name}": tensor for name, tensor in memory.tensors.items()}
    for name, optimizer in stage.optimizers.items():
        tensors |= {f"optimizer/{name}/{key}": value for key, value in optimizer_tensors(optimizer).items()}
    precision = stage.context.fabric.strategy.precision.state_dict()
    save_tensors(path, tensors, _Header(stage.name, position, dict(memory.values), precision))


def load_state(path: Path, stage: Stage) -> Position:
    """Put a stage back to where `save_state` left it.

    Raises:
        CheckpointError: missing, damaged or of another stage.
    """
    tensors, header = load_tensors(path, _Header)
    if header.stage != stage.name:
        raise CheckpointError(f"{path} is a state of the {header.stage} stage, not of {stage.name}")
    try:
        stage.recall(StageMemory(_below(tensors, "memory/"), header.memory))
        stage.context.net.load_state_dict(_below(tensors, "net/"))
        for name, optimizer in stage.optimizers.items():
            restore_optimizer(optimizer, _below(tensors, f"optimizer/{name}/"))
        stage.context.fabric.strategy.precision.load_state_dict(header.precision)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is a state of another network or version: {error}") from error
    return header.position


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
