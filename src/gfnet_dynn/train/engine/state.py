"""The state of an unfinished stage on disk: complete, so that training goes on as if it had not stopped.

One safetensors file, written in one step; nothing is pickled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.model.checkpoint import load_tensors, save_tensors
from gfnet_dynn.train.engine.optimisation import optimizer_tensors, restore_optimizer
from gfnet_dynn.train.engine.tally import EpochTally
from gfnet_dynn.train.stages.stage import Stage, StageMemory

_FORMAT = "gfnet-dynn training state 1"


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
    header: dict[str, Any] = {
        "format": _FORMAT,
        "stage": stage.name,
        "epoch": position.epoch,
        "step": position.step,
        "finished": position.finished,
        "tally": asdict(position.tally),
        "memory": memory.values,
        "precision": stage.context.fabric.strategy.precision.state_dict(),
    }
    save_tensors(path, tensors, header)


def load_state(path: Path, stage: Stage) -> Position:
    """Put a stage back to where `save_state` left it.

    Raises:
        CheckpointError: missing, damaged or of another stage.
    """
    tensors, header = load_tensors(path, _FORMAT)
    if header["stage"] != stage.name:
        raise CheckpointError(f"{path} is a state of the {header['stage']} stage, not of {stage.name}")
    stage.recall(StageMemory(_below(tensors, "memory/"), header["memory"]))
    stage.context.net.load_state_dict(_below(tensors, "net/"))
    for name, optimizer in stage.optimizers.items():
        restore_optimizer(optimizer, _below(tensors, f"optimizer/{name}/"))
    stage.context.fabric.strategy.precision.load_state_dict(header["precision"])
    return Position(header["epoch"], header["step"], header["finished"], EpochTally(**header["tally"]))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
