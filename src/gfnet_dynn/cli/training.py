"""What `gfnet-dynn train` and the published command line do: from options to a trained network."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from gfnet_dynn.backbone_spec import BackboneSpec, find_backbone
from gfnet_dynn.cli.options import DataOptions, NetOptions, RunOptions, parse_exits
from gfnet_dynn.cli.progress import Counter, TrainingProgress
from gfnet_dynn.data.scenes import SceneData, locate, prepare
from gfnet_dynn.data.splits import SplitSettings
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.spec import InputSpec, NetSpec, make_input
from gfnet_dynn.storage import require_writable
from gfnet_dynn.train.reporter import Reporter, Reporters
from gfnet_dynn.train.run import open_run, train
from gfnet_dynn.train.run_folder import RunPlan, run_folder
from gfnet_dynn.train.settings import TrainSettings
from gfnet_dynn.train.start import Start
from gfnet_dynn.train.tracking import JsonlTracker, MLflowTracker, TensorBoardTracker, require_mlflow


def set_threads(threads: int | None) -> None:
    """Limit the processor threads of this process.

    Raises:
        TrainingError: fewer than one.
    """
    if threads is None:
        return
    if threads < 1:
        raise TrainingError(f"--threads must be at least 1, not {threads}")
    torch.set_num_threads(threads)


def split_settings(options: DataOptions) -> SplitSettings:
    """What the options say about the split."""
    return SplitSettings(options.split_seed, options.split_ratio, options.selection_share, options.on_bad_image)


def prepare_data(
    options: DataOptions,
    backbone: BackboneSpec,
    split: SplitSettings,
    folder: Path,
    console: Console,
    image: InputSpec | None = None,
) -> SceneData:
    """Locate, split and size the data that the options name.

    Args:
        options: which data, and which size where `image` is None.
        backbone: what the size must fit.
        split: what decides the split.
        folder: splits are stored below it.
        console: for progress, and for the names of files left out.
        image: the input, where it is given by more than the options.
    """
    progress = Counter(console)
    source = locate(options.data_set, options.data_path, options.dataset_config, progress)
    if image is None:
        image = make_input(backbone, options.input_size or source.config.default_input_size, pad=options.pad)
    data = prepare(source, image, split, folder / "splits", progress)
    for reason in data.split.skipped.values():
        console.print(f"skipped: {reason}", markup=False, highlight=False, soft_wrap=True)
    return data


def network(options: NetOptions, data: SceneData) -> NetSpec:
    """The network that the options describe, for these data."""
    backbone = find_backbone(options.model)
    exits = parse_exits(options.exits) or backbone.default_exits
    return NetSpec(backbone, exits, data.input, data.split.classes)


def run_training(
    data_options: DataOptions, net_options: NetOptions, settings: TrainSettings, options: RunOptions, console: Console
) -> Path:
    """Train, and say where everything is.

    Returns:
        The file of the trained network.
    """
    set_threads(options.threads)
    require_writable(options.output)
    if options.mlflow:
        require_mlflow()
    backbone = find_backbone(net_options.model)
    data = prepare_data(data_options, backbone, split_settings(data_options), options.output, console)
    plan = RunPlan(
        spec=network(net_options, data),
        data=data,
        settings=settings,
        folder=run_folder(options.output, data.source.name, settings.ce_ic_tradeoff),
        start=Start(net_options.checkpoint_path, options.new_head, net_options.pretrained),
    )
    run = open_run(plan, resume=options.resume)
    reporter = _reporter(plan, options, console)
    for note in run.notes:
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


def _reporter(plan: RunPlan, options: RunOptions, console: Console) -> Reporter:
    listeners: list[Reporter] = [TrainingProgress(console), JsonlTracker(plan.folder / "metrics.jsonl")]
    if options.tensorboard:
        listeners.append(TensorBoardTracker(plan.folder / "tensorboard"))
    if options.mlflow:
        listeners.append(MLflowTracker(plan.folder, plan.settings.to_dict()))
    return Reporters(listeners)
