"""A training in the terminal: its progress, its result, and the next commands."""

from __future__ import annotations

import shlex

from rich.console import Console

from gfnet_dynn.cli.render.progress import ProgressBars, TrainingProgress
from gfnet_dynn.train.config.request import TrainRequest
from gfnet_dynn.workflows.training import TrainResult, train


def run_training(request: TrainRequest) -> TrainResult:
    """Train and print."""
    console = Console()
    progress = TrainingProgress(console)
    result = train(request, on_progress=ProgressBars(console), log=progress.log, reporters=[progress])
    run = shlex.quote(str(result.run))
    progress.log(
        f"trained: {result.model}\n"
        f"evaluate it: gfnet-dynn evaluate {run}\n"
        f"export it:   gfnet-dynn export {run} -o scene.gfd"
    )
    return result
