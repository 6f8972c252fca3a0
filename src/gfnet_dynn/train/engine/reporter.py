"""Events of a training: the base class that ignores them all, and a group of reporters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True, slots=True)
class StageExtent:
    """How long a stage is.

    Attributes:
        name: `backbone`, `warmup` or `joint`.
        epochs: at most so many; 0 where it takes no gradient steps.
        images: of one epoch.
    """

    name: str
    epochs: int
    images: int


class Reporter:
    """Receives the events of a training; subclasses override those that they use."""

    def run_started(self, stages: Sequence[StageExtent]) -> None:
        """Training starts; `stages` are those that are not finished yet."""

    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """A stage starts, or is resumed at `first_epoch` (0-based)."""

    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """An optimiser step on `images` images was taken."""

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch ended; metrics by name: mean losses, accuracies (0 to 1, selection split), images/s, seconds."""

    def stage_ended(self, stage: str, accuracies: Mapping[str, float]) -> None:
        """A stage ended; accuracies by exit (0 to 1, selection split), after classifiers were refitted."""

    def close(self, *, completed: bool) -> None:
        """Nothing follows; `completed`: all stages ended."""


EVENTS = tuple(name for name in vars(Reporter) if not name.startswith("_"))


class Reporters(Reporter):
    """Passes every event on to several reporters."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)
        for event in EVENTS:
            setattr(self, event, partial(self._pass_on, event))

    def _pass_on(self, event: str, *details: Any, **named: Any) -> None:
        for reporter in self._reporters:
            getattr(reporter, event)(*details, **named)
