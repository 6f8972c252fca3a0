"""A training in the terminal: its progress, its result, and the next commands."""

from __future__ import annotations

import shlex

from rich.console import Console

from gfnet_dynn.cli.render.progress import ProgressBars, TrainingProgress
from gfnet_dynn.cli.render.tables import print_files, print_next, print_tables
from gfnet_dynn.train.config.request import TrainRequest
from gfnet_dynn.workflows.training import TrainResult, train


def show_training(request: TrainRequest) -> TrainResult:
    """Train and print."""
    console = Console()
    progress = TrainingProgress(console)
    result = train(request, on_progress=ProgressBars(console), log=progress.log, reporters=[progress])
    print_tables(result, console)
    print_files([result.model], console)
    run = shlex.quote(str(result.run))
    print_next(console, f"evaluate {run}", f"export {run} -o scene.gfd")
    return result
