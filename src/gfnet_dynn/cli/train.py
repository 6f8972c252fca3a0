"""`gfnet-dynn train`: train an early-exit network by the published stages."""

from __future__ import annotations

from gfnet_dynn.cli.options import DataOptions, EvaluationOptions, NetOptions, RunOptions, with_options
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.recipes import read_recipe
from gfnet_dynn.train.config.training import TrainSettings
from gfnet_dynn.workflows.extras import require_torch


@with_options(
    DataOptions, NetOptions, TrainSettings, DistillationSettings, RunOptions, EvaluationOptions, recipe=read_recipe
)
def train(  # one for each group of options
    data: DataOptions,
    net: NetOptions,
    settings: TrainSettings,
    distillation: DistillationSettings,
    run: RunOptions,
    evaluation: EvaluationOptions,
) -> None:
    """Train an early-exit network: teacher (if any), backbone (unless a checkpoint brings it), exits, joint stage.

    Options come from RECIPE, and from the command line, which has the last word.
    """
    require_torch("training")
    from gfnet_dynn.workflows.evaluation import run_evaluation  # noqa: PLC0415 # imports torch
    from gfnet_dynn.workflows.training import run_training  # noqa: PLC0415

    console = Terminal()
    model = run_training(data, net, settings, distillation, run, console)
    if run.evaluate:
        run_evaluation(data, net, evaluation, model, settings.device, console)
