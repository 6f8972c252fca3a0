"""The published command line, verbatim: trains, or evaluates with --eval."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from gfnet_dynn.cli.app import run
from gfnet_dynn.cli.options import (
    SPELLINGS,
    DataOptions,
    EvaluationOptions,
    NetOptions,
    RunOptions,
    option,
    with_options,
)
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings
from gfnet_dynn.workflows.extras import require_torch


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What to do."""

    eval: bool = option(False, "Evaluate --checkpoint-path, or the run of the same data set and tradeoff.")


@with_options(Mode, DataOptions, NetOptions, TrainSettings, RunOptions, EvaluationOptions)
def command(  # one for each group of options
    mode: Mode,
    data: DataOptions,
    net: NetOptions,
    settings: TrainSettings,
    options: RunOptions,
    evaluation: EvaluationOptions,
) -> None:
    """Train an early-exit Global Filter Network on remote-sensing scenes, or evaluate one."""
    require_torch("training")
    from gfnet_dynn.data.catalogue.configs import find_dataset  # noqa: PLC0415
    from gfnet_dynn.train.runs.run_folder import run_folder  # noqa: PLC0415
    from gfnet_dynn.workflows.evaluation import run_evaluation  # noqa: PLC0415 # imports torch
    from gfnet_dynn.workflows.training import run_training, set_threads  # noqa: PLC0415

    console = Terminal()
    if not mode.eval:
        model = run_training(data, net, settings, DistillationSettings(), options, console)
        if options.evaluate:
            run_evaluation(data, net, evaluation, model, settings.device, console)
        else:
            console.print(f"evaluate it with: --eval --checkpoint-path {model}", markup=False, soft_wrap=True)
        return
    set_threads(options.threads)
    name, _ = find_dataset(data.data_set, data.dataset_config)
    checkpoint = net.checkpoint_path or run_folder(options.output, name, settings.ce_ic_tradeoff)
    run_evaluation(data, net, evaluation, checkpoint, settings.device, console)


def main() -> None:
    """Entry point of `main_dynn.py`."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, context_settings=SPELLINGS)
    app.command()(command)
    run(app)
