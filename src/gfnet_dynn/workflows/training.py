"""Train an early-exit network, from a request to a trained run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from gfnet_dynn.data.learned_from import UnlabelledImages, find_unlabelled, require_unseen
from gfnet_dynn.data.scenes import SceneData, keep_split, prepare, require_same_images
from gfnet_dynn.data.source import locate
from gfnet_dynn.model.checkpoint import Checkpoint, load_checkpoint
from gfnet_dynn.model.weights import require_imagenet
from gfnet_dynn.progress import Log, OnProgress, ignore_log, ignore_progress
from gfnet_dynn.reporting.table import Table, Tabular
from gfnet_dynn.runlayout import run_folder
from gfnet_dynn.spec.backbone import BackboneSpec, ExitPooling, backbone_name
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.storage import one_at_a_time, require_writable
from gfnet_dynn.train.engine.device import make_fabric, set_threads
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.engine.tracking import (
    JsonlTracker,
    MLflowTracker,
    Reporter,
    Reporters,
    TensorBoardTracker,
    require_mlflow,
)
from gfnet_dynn.train.request import TrainRequest
from gfnet_dynn.train.runs import run as runs
from gfnet_dynn.train.runs.run_folder import RunPlan, stored_record
from gfnet_dynn.train.runs.start import read_trained
from gfnet_dynn.train.runs.teaching import find_teacher
from gfnet_dynn.units import percent

_UNCERTAIN = 0.05  # standard deviation of a selection accuracy from which a larger selection split is recommended


@dataclass(frozen=True)
class TrainResult(Tabular):
    """A trained run.

    Attributes:
        images: number in the selection split.
        exit_macs: multiply-accumulates up to each exit, [G + 1].
        accuracies: of each exit on the selection split, [G + 1], 0 to 1.
    """

    run: Path
    model: Path
    data_set: str
    images: int
    exit_macs: tuple[int, ...]
    accuracies: tuple[float, ...]
    remarks: tuple[str, ...] = ()

    def tables(self) -> Sequence[Table]:
        """Accuracy and cost of each exit."""
        names = [f"exit {index + 1}" for index in range(len(self.accuracies) - 1)] + ["final exit"]
        rows = tuple(
            (name, percent(accuracy, 1), f"{macs / 1e6:.0f}", percent(macs / self.exit_macs[-1], 0))
            for name, accuracy, macs in zip(names, self.accuracies, self.exit_macs, strict=True)
        )
        title = f"{self.data_set}: exits on the {self.images} images of the selection split"
        return [Table(title, ("exit", "accuracy", "M MACs", "of the full network"), rows)]

    def notes(self) -> Sequence[str]:
        """How the numbers came about."""
        chosen = "epochs, classifiers and thresholds were chosen on these images: evaluate the run on others"
        return [chosen, *self.remarks]


def train(
    request: TrainRequest,
    *,
    on_progress: OnProgress = ignore_progress,
    log: Log = ignore_log,
    reporters: Sequence[Reporter] = (),
) -> TrainResult:
    """Train a network, and the teacher that it needs.

    The reporters receive every step and epoch, of the teacher too; metrics are written to the run's folder anyway.
    In processes that torchrun started, all train one network together, each on its part of every batch. The first one
    writes and reports; the results are the same in all.

    Raises:
        KeyboardInterrupt: interrupted; the state is saved.
        ReportedElsewhereError: another process of the training has failed, and raises what it failed of.
        GFNetDynnError: the request cannot be carried out; nothing was overwritten.
    """
    set_threads(request.run.threads)
    make_fabric(request.training.device, request.training.precision)  # joins the processes
    ranks = Ranks()
    if not ranks.is_first:
        on_progress, log, reporters = ignore_progress, ignore_log, ()
    output = ranks.by_first(lambda: require_writable(request.run.output))
    if request.run.mlflow:
        ranks.by_first(lambda: bool(require_mlflow()))
    plan = _plan(request, ranks, on_progress, log)
    with ExitStack() as stack:
        ranks.by_first(lambda: stack.enter_context(one_at_a_time(plan.folder, wait=False)))
        runs.check_start(plan, resume=request.run.resume)  # before a teacher is trained
        make_reporter = partial(_reporter, request, reporters, ranks)
        plan = replace(plan, teacher=find_teacher(plan, output / "teachers", make_reporter, log))
        run = runs.open_run(plan, resume=request.run.resume)
        ranks.by_first(lambda: keep_split(plan.data, output / "splits"))
        for note in (_describe_parts(plan.data), *run.notes):
            log(note)
        try:
            model = runs.train(run, make_reporter(plan), log)
        except KeyboardInterrupt:
            log(f"interrupted; the state is saved in {plan.folder}: continue with the same command and --resume")
            raise
    accuracies = ranks.by_first(lambda: load_checkpoint(model).provenance["selection_accuracy"])
    images = len(plan.data.split.parts["selection"])
    return TrainResult(
        plan.folder, model, plan.data.source.name, images, run.net.exit_macs(), tuple(accuracies.values()), run.notes
    )


def _plan(request: TrainRequest, ranks: Ranks, on_progress: OnProgress, log: Log) -> RunPlan:
    source = ranks.by_first(lambda: replace(locate(request.data, on_progress), decode=request.decode))
    folder = run_folder(request.run.output, source.name, request.training.ce_ic_tradeoff)
    backbone, exits, pooling = ranks.by_first(lambda: _architecture(request, folder))
    if request.start.pretrained and request.start.checkpoint is None:
        ranks.by_each(lambda: require_imagenet(backbone))
    image = make_input(backbone, source.input_size(request.data), pad=request.data.pad)
    image = structs.replace(image, stretch=request.decode.stretch)
    log(f"{backbone_name(backbone)} at {image.size} px on {source.name}, {source.config.num_classes} classes")
    splits = request.run.output / "splits"
    data = ranks.by_first(lambda: prepare(source, image, request.split, splits, on_progress))
    ranks.by_each(lambda: None if ranks.is_first else require_same_images(data))
    for reason in data.split.skipped.values():
        log(f"skipped: {reason}")
    return RunPlan(
        spec=NetSpec(backbone, exits, image, data.split.classes, pooling),
        data=data,
        settings=request.training,
        folder=folder,
        start=request.start,
        distillation=request.distillation,
        unlabelled=ranks.by_first(lambda: _unlabelled(request, data, on_progress, log)),
    )


def _architecture(request: TrainRequest, folder: Path) -> tuple[BackboneSpec, tuple[int, ...], ExitPooling]:
    """Backbone, exits and their pooling: as asked, else those of the checkpoint, else the model's own."""
    options, known = request.network, None
    if request.start.checkpoint is not None and request.run.resume:
        known = stored_record(folder).network  # the checkpoint that it started from may be gone
    elif request.start.checkpoint is not None:
        trained = read_trained(request.start.checkpoint)
        known = trained.spec if isinstance(trained, Checkpoint) else None
    if known and (options.model is None or options.backbone == known.backbone):
        backbone, exits = known.backbone, known.exit_blocks
        pooling = known.exit_pooling if exits else backbone.exit_pooling
    else:
        backbone = options.backbone
        exits, pooling = backbone.default_exits, backbone.exit_pooling
    return backbone, exits if options.exits is None else options.exits, options.exit_pooling or pooling


def _describe_parts(data: SceneData) -> str:
    """Number of images in each part; where the selection split is small, how uncertain its accuracies are."""
    counts = {part: len(files) for part, files in data.split.parts.items()}
    text = f"images: {', '.join(f'{part} {count}' for part, count in counts.items())}"
    deviation = 0.5 / math.sqrt(counts["selection"])  # of an accuracy of one half, where it is largest
    if deviation > _UNCERTAIN:
        text += (
            f"; epochs and thresholds are chosen on {counts['selection']} images, whose accuracy has a standard "
            f"deviation of up to {100 * deviation:.0f} pp: a larger --selection-share chooses better"
        )
    return text


def _unlabelled(request: TrainRequest, data: SceneData, on_progress: OnProgress, log: Log) -> UnlabelledImages | None:
    folder = request.distillation.unlabelled
    if folder is None:
        return None
    checking = partial(on_progress, "Checking the unlabelled images")
    found = find_unlabelled(folder, request.split.on_bad_image, checking, request.decode)
    require_unseen(found, data.source.root, data.split)
    for reason in found.skipped.values():
        log(f"skipped: {reason}")
    return found


def _reporter(request: TrainRequest, reporters: Sequence[Reporter], ranks: Ranks, plan: RunPlan) -> Reporter:
    """Made in the first process; `run.train` uses no other's."""
    made: list[Reporter] = []
    ranks.by_first(lambda: made.append(_trackers(request, reporters, plan)))
    return made[0] if made else Reporter()


def _trackers(request: TrainRequest, reporters: Sequence[Reporter], plan: RunPlan) -> Reporter:
    layout, options = plan.layout, request.run
    trackers: list[Reporter] = [*reporters, JsonlTracker(layout.metrics)]
    if options.tensorboard:
        trackers.append(TensorBoardTracker(layout.tensorboard))
    if options.mlflow:
        trackers.append(MLflowTracker(plan.folder, asdict(plan.settings)))
    return Reporters(trackers)
