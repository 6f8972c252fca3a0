"""Progress for people: a bar while something runs, one line for each epoch that ended."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gfnet_dynn.train.engine.reporter import Reporter
from gfnet_dynn.wording import counted

_NAMES = {"backbone": "Backbone", "warmup": "Warm-up of the exits", "joint": "Joint stage"}


def make_bar(console: Console) -> Progress:
    """A progress bar; silent where the output is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class ProgressBars:
    """Shows one bar for each piece of work; an `OnProgress`."""

    def __init__(self, console: Console) -> None:
        self._bar = make_bar(console)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, title: str, done: int, total: int) -> None:
        """Move the bar of one piece of work; it is put away at its end."""
        if title not in self._tasks:
            self._tasks[title] = self._bar.add_task(title, total=total)
            self._bar.start()
        self._bar.update(self._tasks[title], completed=done)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(title))
            if not self._tasks:
                self._bar.stop()


@contextmanager
def _as_long_as_there_is_a_terminal() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:  # that of a terminal which was closed: training has its state to save
            raise


class TrainingProgress(Reporter):
    """Tells a person how training goes, until the terminal is closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = make_bar(console)
        self._task: TaskID | None = None
        self._epochs = self._images = self._first_epoch = 0
        self._began = 0.0

    @_as_long_as_there_is_a_terminal()
    def stage_started(self, stage: str, epochs: int, images_per_epoch: int, first_epoch: int) -> None:
        """Name the stage."""
        self._epochs, self._images, self._first_epoch = epochs, images_per_epoch, first_epoch
        self._began = time.perf_counter()
        resumed = f", going on at epoch {first_epoch + 1}" if first_epoch else ""
        extent = f"at most {counted(epochs, 'epoch')} of {counted(images_per_epoch, 'image')}"
        self._console.print(f"[bold]{_NAMES[stage]}[/]: {extent}{resumed}")
        self._bar.start()

    @_as_long_as_there_is_a_terminal()
    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("", total=self._images)
        shown = ", ".join(f"{name.removeprefix('loss/')} {value:.3f}" for name, value in losses.items())
        title = f"epoch {epoch + 1}/{self._epochs}  loss {shown}"
        self._bar.update(self._task, advance=images, description=title)

    @_as_long_as_there_is_a_terminal()
    def epoch_ended(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """One line: losses, accuracies on the selection split, rate, time left."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        done = epoch + 1 - self._first_epoch
        left = (time.perf_counter() - self._began) / done * (self._epochs - epoch - 1)
        self._console.print(
            f"  epoch {epoch + 1:>3}/{self._epochs}  {_losses(metrics)}  {_accuracies(metrics)}  "
            f"{metrics.get('images_per_s', 0):.0f} img/s  ≤ {_clock(left)} left",
            highlight=False,
            soft_wrap=True,
        )

    @_as_long_as_there_is_a_terminal()
    def stage_ended(self, stage: str) -> None:
        """Put the bar away."""
        self._bar.stop()

    @_as_long_as_there_is_a_terminal()
    def said(self, message: str) -> None:
        """Print it."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    @_as_long_as_there_is_a_terminal()
    def close(self, *, completed: bool) -> None:
        """Put the bar away, wherever training stopped."""
        self._bar.stop()


def _losses(metrics: Mapping[str, float]) -> str:
    losses = {name.removeprefix("loss/"): value for name, value in metrics.items() if name.startswith("loss/")}
    return "loss " + " ".join(f"{name} {value:.3f}" for name, value in losses.items())


def _accuracies(metrics: Mapping[str, float]) -> str:
    values = {n.removeprefix("accuracy/"): v for n, v in metrics.items() if n.startswith("accuracy/")}
    return "selection % " + " ".join(f"{name} {100 * value:.1f}" for name, value in values.items() if name != "mean")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
