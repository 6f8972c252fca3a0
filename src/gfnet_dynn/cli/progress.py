"""Progress of a training for the terminal: a bar while it runs, and one line for each epoch."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any

from rich.progress import TaskID

from gfnet_dynn.cli.terminal import Terminal, progress_bar
from gfnet_dynn.runlayout import TITLES
from gfnet_dynn.train.engine.tracking import Reporter, StageExtent
from gfnet_dynn.units import percent
from gfnet_dynn.wording import counted

_WORK = {"backbone": 3, "warmup": 1, "joint": 3}
"""Cost of an image in each stage, in forward passes; a backward pass through the backbone counts two."""


def _outliving_the_terminal(event: Callable[..., None]) -> Callable[..., None]:
    """A closed terminal must not end a training, whose state is to be saved."""

    @wraps(event)
    def safe(*arguments: Any, **named: Any) -> None:
        try:
            event(*arguments, **named)
        except OSError as error:
            if error.errno != errno.EIO:
                raise

    return safe


class TrainingProgress(Reporter):
    """Shows the progress of a training, until the terminal is closed.

    The time left is an upper bound where stages may end before their last epoch. For stages that have not started it
    is extrapolated from the current one by `_WORK`.
    """

    def __init__(self, console: Terminal, clock: Callable[[], float] = time.perf_counter) -> None:
        self._console, self._clock = console, clock
        self._bar = progress_bar(console)
        self._task: TaskID | None = None
        self._later: list[StageExtent] = []
        self._now = StageExtent("backbone", 0, 0)
        self._done = self._first_epoch = 0
        self._began = 0.0

    def run_started(self, stages: Sequence[StageExtent]) -> None:
        """Note how long the stages are."""
        self._later = list(stages)

    @_outliving_the_terminal
    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """Print the stage."""
        self._now = StageExtent(stage, epochs, images_per_epoch)
        self._later = [each for each in self._later if each.name != stage]
        self._first_epoch, self._done, self._began = first_epoch, 0, self._clock()
        resumed = f", resumed at epoch {first_epoch + 1}" if first_epoch else ""
        extent = f"at most {counted(epochs, 'epoch')} of {counted(images_per_epoch, 'image')}"
        self._console.print(f"[bold]{TITLES[stage]}[/]: {extent}{resumed}")
        self._bar.start()

    @_outliving_the_terminal
    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """Move the bar."""
        self._done += images
        if self._task is None:
            self._task = self._bar.add_task("", total=self._now.images, note="")
        rate = self._done / max(self._clock() - self._began, 1e-9)
        note = f"{rate:.0f} img/s, {self._left()}"
        self._bar.update(self._task, advance=images, description=f"epoch {epoch + 1}/{self._now.epochs}", note=note)

    @_outliving_the_terminal
    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One line: losses, accuracies on the selection split, rate, time left.

        Without accuracies in the warm-up, whose classifiers are refitted at its end.
        """
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        accuracies = "" if stage == "warmup" else f"  {_accuracies(metrics)}"
        losses = " ".join(f"{name} {value:.3f}" for name, value in _below("loss/", metrics).items())
        self._console.print(
            f"  epoch {epoch + 1:>3}/{self._now.epochs}  loss {losses}{accuracies}  "
            f"{metrics.get('images_per_s', 0):.0f} img/s, {self._left()}",
            soft_wrap=True,
        )

    @_outliving_the_terminal
    def stage_ended(self, stage: str, accuracies: Mapping[str, float]) -> None:
        """Remove the bar; print the accuracies that the stage ends with."""
        self._bar.stop()
        self._console.print(f"{TITLES[stage]}, result: {_accuracies(accuracies)}", soft_wrap=True)

    @_outliving_the_terminal
    def log(self, message: str) -> None:
        """Print a line above the bar; a `Log`."""
        self._console.print_line(message)

    @_outliving_the_terminal
    def close(self, *, completed: bool) -> None:
        """Remove the bar, wherever training stopped."""
        self._bar.stop()

    def _left(self) -> str:
        """Time to the end of all stages."""
        now = self._now
        seconds = (self._clock() - self._began) / max(self._done, 1)  # for one image, the selection split included
        own = max(0, (now.epochs - self._first_epoch) * now.images - self._done)
        later = sum(each.epochs * each.images * _WORK[each.name] for each in self._later) / _WORK[now.name]
        left = str(timedelta(seconds=round(seconds * (own + later)))).removeprefix("0:").removeprefix("0")
        return f"≤ {left} left for all stages"


def _accuracies(metrics: Mapping[str, float]) -> str:
    values = _below("accuracy/", metrics)
    return "selection accuracy " + " ".join(f"{each} {percent(values[each], 1)}" for each in values if each != "mean")


def _below(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
