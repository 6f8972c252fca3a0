"""What `gfnet-dynn train` and the published command line do: from options to a trained network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from gfnet_dynn.cli.options import DEFAULT_MODEL, DataOptions, NetOptions, RunOptions, parse_exits
from gfnet_dynn.cli.render.progress import Counter, TrainingProgress
from gfnet_dynn.data.loading.scenes import SceneData, Source, keep_split, locate, prepare
from gfnet_dynn.data.splits.split import SplitSettings
from gfnet_dynn.data.splits.unlabelled import UnlabelledImages, find_unlabelled, require_unseen
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.runtime.engine import most_threads
from gfnet_dynn.spec.backbone import BackboneSpec, ExitPooling, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.storage import one_at_a_time, require_writable
from gfnet_dynn.train.config.distillation import DistillationSettings
from gfnet_dynn.train.config.training import TrainSettings
from gfnet_dynn.train.engine.reporter import Reporter, Reporters
from gfnet_dynn.train.engine.tracking import JsonlTracker, MLflowTracker, TensorBoardTracker, require_mlflow
from gfnet_dynn.train.runs.run import Run, check_start, open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan, network_of, run_folder
from gfnet_dynn.train.runs.start import Start, read_trained
from gfnet_dynn.train.runs.teaching import TeacherContext, find_teacher

_UNSURE_POINTS = 5


def set_threads(threads: int | None) -> None:
    """Limit the processor threads of this process.

    Raises:
        TrainingError: fewer than one, or more than the machine has use for.
    """
    if threads is None:
        return
    if not 1 <= threads <= most_threads():
        raise TrainingError(f"--threads must lie from 1 to {most_threads()} on this machine, not {threads}")
    torch.set_num_threads(threads)


def split_settings(options: DataOptions) -> SplitSettings:
    """What the options say about the split."""
    return SplitSettings(
        seed=options.split_seed,
        split_ratio=options.split_ratio,
        selection_share=options.selection_share,
        on_bad_image=options.on_bad_image,
        max_pixels=options.max_pixels,
        stretch=options.stretch,
    )


def input_size(options: DataOptions, source: Source) -> int:
    """Side of the input in pixels: as asked, else the data set's."""
    return source.config.default_input_size if options.input_size is None else options.input_size


def say_skipped(skipped: Mapping[str, str], console: Console) -> None:
    """Name the files that were left out."""
    for reason in skipped.values():
        console.print(f"skipped: {reason}", markup=False, highlight=False, soft_wrap=True)


def _architecture(
    options: NetOptions, folder: Path, *, resume: bool
) -> tuple[BackboneSpec, tuple[int, ...], ExitPooling]:
    """Backbone, exits and their pooling: as asked, else those of the checkpoint, else the published student's.

    A run that is gone on with says itself what it is: the checkpoint that it started from may be gone.
    """
    if options.checkpoint_path is not None:
        trained = None if resume else read_trained(options.checkpoint_path)
        known = network_of(folder) if resume else trained.spec if isinstance(trained, Checkpoint) else None
        if known and (options.model is None or find_backbone(options.model) == known.backbone):
            kept = known.exit_blocks if options.exits is None else parse_exits(options.exits, known.backbone)
            pooling = known.exit_pooling if known.exit_blocks else known.backbone.exit_pooling
            return known.backbone, kept, options.exit_pooling or pooling
    backbone = find_backbone(options.model or DEFAULT_MODEL)
    return backbone, parse_exits(options.exits, backbone), options.exit_pooling or backbone.exit_pooling


def run_training(  # one for each group of options
    data_options: DataOptions,
    net_options: NetOptions,
    settings: TrainSettings,
    distillation: DistillationSettings,
    options: RunOptions,
    console: Console,
) -> Path:
    """Train, and say where everything is.

    Returns:
        The file of the trained network.
    """
    set_threads(options.threads)
    require_writable(options.output)
    if options.mlflow:
        require_mlflow()
    progress, splits = Counter(console), options.output / "splits"
    source = locate(data_options.data_set, data_options.data_path, data_options.dataset_config, progress)
    folder = run_folder(options.output, source.name, settings.ce_ic_tradeoff)
    backbone, exits, pooling = _architecture(net_options, folder, resume=options.resume)
    image = make_input(backbone, input_size(data_options, source), pad=data_options.pad)
    data = prepare(source, image, split_settings(data_options), splits, progress)
    say_skipped(data.split.skipped, console)
    plan = RunPlan(
        spec=NetSpec(backbone, exits, image, data.split.classes, pooling),
        data=data,
        settings=settings,
        folder=folder,
        start=Start(net_options.checkpoint_path, options.new_head, net_options.pretrained),
        distillation=distillation,
        unlabelled=_unlabelled(distillation, data, data_options.on_bad_image, console),
    )
    with one_at_a_time(plan.folder, wait=False):
        check_start(plan, resume=options.resume)  # before the teacher's training, what can be refused without it
        plan = replace(plan, teacher=find_teacher(distillation, _school(data, settings, options, console)))
        run = open_run(plan, resume=options.resume)
        keep_split(data, splits)
        return _train(run, plan, options, console)


def _school(data: SceneData, settings: TrainSettings, options: RunOptions, console: Console) -> TeacherContext:
    return TeacherContext(
        data=data,
        settings=settings,
        folder=options.output / "teachers",
        reporter=lambda plan: _reporter(plan.folder, plan.settings, options, console),
        say=TrainingProgress(console).said,
    )


def _train(run: Run, plan: RunPlan, options: RunOptions, console: Console) -> Path:
    reporter = _reporter(plan.folder, plan.settings, options, console)
    for note in (_parts(plan.data), *run.notes):
        reporter.said(note)
    completed = False
    try:
        model = train(run, reporter)
        completed = True
    except KeyboardInterrupt:
        reporter.said(f"interrupted; the state is saved in {plan.folder}: go on with the same command and --resume")
        raise
    finally:
        reporter.close(completed=completed)
    reporter.said(f"trained: {model}\nmetrics: {plan.folder / 'metrics.jsonl'}")
    return model


def _parts(data: SceneData) -> str:
    """How many images serve for what; where few decide, how sure that is."""
    counts = {part: len(files) for part, files in data.split.parts.items()}
    said = f"images: {', '.join(f'{part} {count}' for part, count in counts.items())}"
    deviation = 50 / math.sqrt(counts["selection"])  # points, of a share of one half: its largest
    if deviation > _UNSURE_POINTS:
        said += (
            f"; epochs and threshold are chosen on {counts['selection']} images, where an accuracy is known to "
            f"± {deviation:.0f} points at worst (one standard deviation): a larger --selection-share chooses better"
        )
    return said


def _unlabelled(
    distillation: DistillationSettings, data: SceneData, on_bad_image: str, console: Console
) -> UnlabelledImages | None:
    if distillation.unlabelled is None:
        return None
    found = find_unlabelled(
        distillation.unlabelled,
        on_bad_image,
        Counter(console)("Checking the unlabelled images"),
        data.split.settings.decode,
    )
    require_unseen(found, data.source.root, data.split)
    say_skipped(found.skipped, console)
    return found


def _reporter(folder: Path, settings: TrainSettings, options: RunOptions, console: Console) -> Reporter:
    listeners: list[Reporter] = [TrainingProgress(console), JsonlTracker(folder / "metrics.jsonl")]
    if options.tensorboard:
        listeners.append(TensorBoardTracker(folder / "tensorboard"))
    if options.mlflow:
        listeners.append(MLflowTracker(folder, settings.to_dict()))
    return Reporters(listeners)
