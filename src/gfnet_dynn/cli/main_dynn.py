"""The published command line: trains, or evaluates with --eval."""

from __future__ import annotations

from dataclasses import dataclass

import click

from gfnet_dynn.cli.app import run
from gfnet_dynn.cli.command import command
from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import option
from gfnet_dynn.spec.request import NetworkOptions
from gfnet_dynn.train.config.request import RunOptions, Start, TrainRequest
from gfnet_dynn.train.config.training import TrainSettings
from gfnet_dynn.workflows.extras import require_torch


@dataclass(frozen=True, kw_only=True)
class Mode:
    """Mode."""

    eval: bool = option(False, "Evaluate --checkpoint-path, or the run of the same data set and tradeoff.")


@dataclass(frozen=True, kw_only=True)
class PublishedOptions:
    """Options."""

    mode: Mode
    data: DataOptions
    split: SplitSettings
    network: NetworkOptions
    start: Start
    training: TrainSettings
    run: RunOptions


def main_dynn(options: PublishedOptions) -> None:
    """Train an early-exit Global Filter Network on remote-sensing scenes, or evaluate one."""
    require_torch("training")
    from gfnet_dynn.cli.evaluate import evaluate  # noqa: PLC0415

    if options.data.data_set is None and options.data.data_path is None:
        raise OptionError("which data set? Give --data-set")
    request = TrainRequest(
        data=options.data,
        split=options.split,
        network=options.network,
        start=options.start,
        training=options.training,
        run=options.run,
    )
    del evaluate, request


def main() -> None:
    """Entry point of `main_dynn.py`."""
    group = click.Group()
    command(group, "main_dynn.py", PublishedOptions)(main_dynn)
    run(lambda: group.commands["main_dynn.py"].main(prog_name="main_dynn.py", standalone_mode=False))
