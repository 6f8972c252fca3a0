"""Who is told how training goes: the base that hears everything and says nothing, and a group of listeners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Reporter:
    """Hears how training goes. Listeners override what they care for."""

    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """A stage begins, or goes on at `first_epoch` (0-based)."""

    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """An optimiser step on `images` images was taken."""

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch ended; metrics by name: mean losses, accuracies (0 to 1, selection split), images/s, seconds."""

    def stage_ended(self, stage: str) -> None:
        """A stage is complete."""

    def said(self, message: str) -> None:
        """Something worth a line for a person."""

    def close(self, *, completed: bool) -> None:
        """Nothing follows; `completed` says whether all stages ended."""


class Reporters(Reporter):
    """Passes everything on to several listeners."""

    def __init__(self, listeners: Sequence[Reporter]) -> None:
        self._listeners = tuple(listeners)

    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """To all."""
        for listener in self._listeners:
            listener.stage_started(stage, epochs, images_per_epoch, first_epoch)

    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """To all."""
        for listener in self._listeners:
            listener.step_taken(stage, epoch, step, images, losses)

    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """To all."""
        for listener in self._listeners:
            listener.epoch_ended(stage, epoch, metrics)

    def stage_ended(self, stage: str) -> None:
        """To all."""
        for listener in self._listeners:
            listener.stage_ended(stage)

    def said(self, message: str) -> None:
        """To all."""
        for listener in self._listeners:
            listener.said(message)

    def close(self, *, completed: bool) -> None:
        """To all."""
        for listener in self._listeners:
            listener.close(completed=completed)
