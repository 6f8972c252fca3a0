"""The published command line: trains, or evaluates with --eval."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import click

from gfnet_dynn.cli.app import run
from gfnet_dynn.cli.command import command
from gfnet_dynn.cli.train import show_training
from gfnet_dynn.cli.verbs import evaluate
from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.data.source import locate
from gfnet_dynn.errors import OptionError
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.options import option
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.runlayout import run_folder
from gfnet_dynn.spec.network import NetworkOptions
from gfnet_dynn.system.torchrun import is_first_process
from gfnet_dynn.train.request import RunOptions, Start, TrainRequest, TrainSettings

_NAME = "main_dynn.py"


@dataclass(frozen=True, kw_only=True)
class Mode:
    """Evaluation."""

    eval: bool = option(False, "Evaluate --checkpoint-path, or the run of the same data set and tradeoff.")
    evaluate: bool = option(False, "Evaluate the result of the training.")
    report: Path | None = option(None, "Folder of the report. [default: `evaluation` beside the weights]")
    latency_images: int = option(48, "Images to time at batch 1; 0: no timing.")
    latency_repeats: int = option(3, "Rounds of timing; the median counts.")


@dataclass(frozen=True, kw_only=True)
class PublishedOptions:
    """Options."""

    data: DataOptions
    network: NetworkOptions
    start: Start
    training: TrainSettings
    split: SplitSettings
    decode: DecodeOptions
    run: RunOptions
    mode: Mode


def main_dynn(options: PublishedOptions) -> None:
    """Train an early-exit Global Filter Network on remote-sensing scenes, or evaluate one."""
    if options.data.data_set is None and options.data.data_path is None:
        raise OptionError("which data set? Give --data-set")
    subject = options.start.checkpoint
    if not options.mode.eval:
        groups = {each.name: getattr(options, each.name) for each in fields(options) if each.name != "mode"}
        subject = show_training(TrainRequest(**groups))
        if not options.mode.evaluate or not is_first_process():
            return
    if subject is None:
        name = locate(options.data, ignore_progress).name
        subject = run_folder(options.run.output, name, options.training.ce_ic_tradeoff)
    evaluate(_evaluation(options, subject))


def _evaluation(options: PublishedOptions, subject: Path) -> EvaluationRequest:
    """The evaluation that the options of a training describe; shares and seed count where they are not the defaults."""
    groups = (options.data, options.network, options.mode, options.run, options.split)
    given = {each.name: getattr(group, each.name) for group in groups for each in fields(group)}
    for each in fields(SplitSettings):
        if given[each.name] == each.default and each.name != "on_bad_image":
            given[each.name] = None
    wanted = {each.name for each in fields(EvaluationRequest)}
    chosen = {key: value for key, value in given.items() if key in wanted}
    return EvaluationRequest(subject=subject, device=options.training.device, decode=options.decode, **chosen)


def main() -> None:
    """Entry point of `main_dynn.py`."""
    group = click.Group()
    command(group, _NAME)(main_dynn)
    run(lambda: group.commands[_NAME].main(prog_name=_NAME, standalone_mode=False))
