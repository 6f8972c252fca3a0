"""`gfnet-dynn train`: train an early-exit network by the published stages."""

from __future__ import annotations

from rich.console import Console

from gfnet_dynn.cli.extras import require_torch
from gfnet_dynn.cli.options import DataOptions, NetOptions, RunOptions, with_options
from gfnet_dynn.train.settings import TrainSettings


@with_options(DataOptions, NetOptions, TrainSettings, RunOptions)
def train(data: DataOptions, net: NetOptions, settings: TrainSettings, run: RunOptions) -> None:
    """Train an early-exit network: backbone (unless a checkpoint brings it), warm-up of the exits, joint stage."""
    require_torch("training")
    from gfnet_dynn.cli.training import run_training  # noqa: PLC0415 # imports torch

    run_training(data, net, settings, run, Console())
