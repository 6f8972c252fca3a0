"""A training run: its stages one after the other; finished ones are kept, an interrupted one is continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from gfnet_dynn.data.learned_from import RECORD
from gfnet_dynn.data.scenes import ImageLoader, Normalise, cut_into_batches
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.evaluation.policies import choose_thresholds
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import load_published
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runlayout import STAGES, find_checkpoint_file
from gfnet_dynn.system.machine import keep_freed_memory
from gfnet_dynn.system.storage import move_aside, require_writable, write_json
from gfnet_dynn.train.engine.device import make_fabric
from gfnet_dynn.train.engine.loop import fit
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.engine.shared_batch import share_statistics
from gfnet_dynn.train.engine.tracking import Reporter, StageExtent
from gfnet_dynn.train.runs.run_folder import RunPlan, RunRecord, record_to_resume, stored_record
from gfnet_dynn.train.runs.start import InitialNet, initial_net
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage
from gfnet_dynn.train.stages.judging import Judge
from gfnet_dynn.train.stages.refit import refit_gates, refit_heads
from gfnet_dynn.train.stages.stage import Stage, StageContext, exit_accuracies
from gfnet_dynn.train.stages.warmup import WarmupStage

_STAGES: Mapping[str, type[Stage]] = {each.name: each for each in (BackboneStage, WarmupStage, JointStage)}


@dataclass(frozen=True)
class Run:
    """A run that is ready to train: its plan, what is stored of it, and notes to be shown before it starts."""

    plan: RunPlan
    record: RunRecord
    net: EarlyExitNet
    fabric: Fabric
    notes: tuple[str, ...] = ()
    ranks: Ranks = field(default_factory=Ranks)


def open_run(plan: RunPlan, *, resume: bool) -> Run:
    """Prepare everything, then make the run's folder, or resume the run in it.

    All that can fail comes before the folder is changed. An earlier run that is not resumed is moved aside, never
    overwritten. Of several processes the first does it; the others get what it has.

    Raises:
        TrainingError: there is no run to resume, it was made with other choices, or the device is not there.
        CheckpointError: the weights to start from do not fit.
        StorageError: nothing can be written there.
    """
    fabric, ranks = make_fabric(plan.settings.device, plan.settings.precision), Ranks()
    opened = ranks.by_first(lambda: _resumed(plan) if resume else _started(plan))
    return Run(plan, opened.record, opened.net, fabric, opened.notes, ranks)


@dataclass(frozen=True)
class _Opened:
    """What a run consists of, on disk and in memory."""

    record: RunRecord
    net: EarlyExitNet
    notes: tuple[str, ...]


def _started(plan: RunPlan) -> _Opened:
    initial, stages = _checked_start(plan)
    require_writable(plan.folder.parent)
    learned_from = plan.learned_from()  # before the run that it starts from may be moved aside
    record = replace(
        plan.record(),
        stages=stages,
        keeps_statistics=initial.keeps_statistics,
        started_from=initial.provenance and {key: each for key, each in initial.provenance.items() if key != RECORD},
        learned_from=learned_from,
    )
    broken = plan.layout.has_progress() and not plan.layout.model(stages[-1]).is_file()
    start = find_checkpoint_file(plan.start.checkpoint).resolve() if plan.start.checkpoint else None
    place = plan.folder.resolve()
    moved = move_aside(plan.folder)
    if moved and start and start.is_relative_to(place):
        moved_to = str(moved.resolve() / start.relative_to(place))
        record = replace(record, start={**record.start, "moved_to": moved_to})
    write_json(plan.layout.record, record.to_dict())
    write_json(plan.layout.split, plan.data.split)
    what = "the earlier, unfinished run (--resume would have continued it)" if broken else "the earlier run"
    notes = (*initial.notes, *((f"{what} was moved to {moved}",) if moved else ()))
    return _Opened(record, initial.net, notes)


def _resumed(plan: RunPlan) -> _Opened:
    record = record_to_resume(plan)
    require_writable(plan.folder)
    versions = plan.record().versions
    notes = [f"the run was started with {record.versions}, now {versions}"] if record.versions != versions else []
    if plan.layout.model(record.stages[-1]).is_file():
        notes.append("the run is finished already")
    return _Opened(record, _net_to_resume(plan, record), tuple(notes))


def _net_to_resume(plan: RunPlan, record: RunRecord) -> EarlyExitNet:
    if not plan.layout.has_progress():
        moved = record.start.get("moved_to")
        start = replace(plan.start, checkpoint=Path(moved)) if moved else plan.start
        return initial_net(plan.spec, plan.data, plan.settings.seed, plan.settings.drop_path, start).net
    net = build_net(plan.spec, plan.settings.drop_path)  # its weights come from the stages' files
    if record.keeps_statistics:
        net.backbone.keep_statistics()
    return net


def check_start(plan: RunPlan, *, resume: bool) -> None:
    """Refuse at once what `open_run` would refuse without a teacher, whose training may come before it."""
    if not resume:
        make_fabric(plan.settings.device, plan.settings.precision)
    Ranks().by_first(lambda: _check_start(plan, resume=resume))


def _check_start(plan: RunPlan, *, resume: bool) -> None:
    if resume:
        stored_record(plan.folder)
    else:
        _checked_start(plan)


def _checked_start(plan: RunPlan) -> tuple[InitialNet, tuple[str, ...]]:
    """The network to start with, and the stages that it needs."""
    settings = plan.settings
    initial = initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start)
    stages = tuple(stage.name for stage in STAGES)
    if not plan.spec.exit_blocks:
        stages = stages[:1]
    elif initial.has_classifier and settings.backbone_epochs is None:
        stages = stages[1:]
    _require_consistent(plan, initial, stages)
    return initial, stages


def _require_consistent(plan: RunPlan, initial: InitialNet, stages: Sequence[str]) -> None:
    frozen, depth = plan.settings.freeze_blocks, plan.spec.backbone.depth
    if frozen > depth:
        raise TrainingError(f"--freeze-blocks {frozen} is more than the {depth} blocks of the network")
    if frozen and not (plan.start.checkpoint or _are_pretrained(initial, frozen)):
        raise TrainingError(
            f"--freeze-blocks {frozen} would freeze random weights: start from trained ones, or freeze fewer blocks"
        )
    has_trunk = plan.spec.backbone.trunk is not None and initial.keeps_statistics
    if plan.settings.trunk_lr and not (has_trunk and "backbone" in stages):
        raise TrainingError(
            "--trunk-lr needs a trunk with ImageNet weights and a backbone stage: choose a --model that has one and "
            "give --backbone-epochs, or omit it"
        )
    if "backbone" not in stages and (plan.unlabelled or plan.distillation.frequency_weight):
        raise TrainingError(
            "--unlabelled and --frequency-weight need the backbone stage, which --checkpoint-path replaces: give "
            "--backbone-epochs too, or omit them"
        )


def _are_pretrained(initial: InitialNet, blocks: int) -> bool:
    """Whether all weights of the stem and the first blocks are ImageNet's, without a checkpoint."""
    backbone = initial.net.backbone
    trained = {part for module in backbone.pretrained_modules() for part in module.modules()}
    return initial.keeps_statistics and trained.issuperset(backbone.first_modules(blocks))


class _StageRunner:
    """Runs the stages on one network; images with a label are decoded once for all of them."""

    def __init__(self, run: Run, reporter: Reporter, log: Log) -> None:
        plan = run.plan
        self._plan, self._net, self._fabric, self._ranks = plan, run.net, run.fabric, run.ranks
        self._reporter, self._log = reporter, log
        self._judge = Judge(run.net, run.fabric, run.ranks, plan.settings.batch)
        augmentation, unlabelled = plan.settings.augmentation, plan.unlabelled
        self._augmented = plan.data.training_loader(augmentation)
        self._plain = self._augmented.shown_by(Normalise(plan.spec.input))
        self._selection = plan.data.evaluation_loader("selection")
        # Features are learned from images without labels too; exits and gates from those that have one.
        self._for_backbone = (
            plan.data.training_loader(augmentation, unlabelled.files) if unlabelled else self._augmented
        )
        self._teacher = plan.teacher and plan.teacher.to(run.fabric.device)

    def extents(self, names: Sequence[str]) -> list[StageExtent]:
        """How long some stages are."""
        return [StageExtent(name, self._epochs(name), self._loader(name).epoch_images) for name in names]

    def run(self, name: str, state: Path) -> dict[str, Any]:
        """Train or continue a stage; what was fitted and chosen on the selection split at its end, as JSON values."""
        loader = self._loader(name)
        context = self._context(loader)
        if epochs := self._epochs(name):
            fit(_STAGES[name](context, epochs), loader, state, self._reporter)
        found = self._refit(name, context) if self._plan.settings.refit else {}
        arrays = context.selection()
        accuracies = exit_accuracies(arrays)
        if name == "backbone":  # the exits are not trained yet
            accuracies = {key: value for key, value in accuracies.items() if key.endswith("final")}
        found["selection_accuracy"] = accuracies
        self._ranks.by_first(lambda: self._reporter.stage_ended(name, accuracies))
        if name != "joint":  # before, the gates have not learned
            return found
        allowed_loss = self._plan.settings.allowed_loss
        return found | choose_thresholds(arrays, self._net.exit_costs(), "selection split", allowed_loss)

    def _epochs(self, name: str) -> int:
        settings = self._plan.settings
        if name == "joint":
            return 0 if settings.gates_alone else settings.num_epoch
        return (settings.backbone_epochs if name == "backbone" else settings.warmup_epochs) or settings.num_epoch

    def _loader(self, name: str) -> ImageLoader:
        return self._for_backbone if name == "backbone" else self._augmented

    def _context(self, loader: ImageLoader) -> StageContext:
        plan, batch = self._plan, self._plan.settings.batch
        steps = len(cut_into_batches(range(loader.epoch_images), batch))
        return StageContext(
            self._fabric,
            self._net,
            plan.settings,
            steps,
            lambda: self._judge.outputs(self._selection),
            plan.distillation,
            self._teacher,
            self._ranks,
        )

    def _refit(self, name: str, context: StageContext) -> dict[str, Any]:
        """Refit a stage's classifiers in closed form, and after the joint stage the gates to their new outputs."""
        net, settings = self._net, self._plan.settings
        if name == "joint" and settings.gates_alone:
            self._refit_gates(context)
            self._log("gates fitted in closed form; backbone and classifiers are frozen")
            return {}
        last = len(net.heads) - 1
        exit_indices = {"backbone": [last], "warmup": list(range(last)), "joint": list(range(last + 1))}[name]
        with self._fabric.autocast():
            train = self._judge.features(self._plain)
        selection = self._judge.features(self._selection)
        refits = self._ranks.by_first(
            lambda: refit_heads(net, train, selection, settings.label_smoothing, exit_indices)
        )
        self._ranks.share_weights(net)
        self._log(f"classifiers refitted in closed form, selection accuracy: {', '.join(map(str, refits))}")
        if name == "joint" and any(refit.kept for refit in refits):
            self._refit_gates(context)
        return {"refit": [asdict(refit) for refit in refits]}

    def _refit_gates(self, context: StageContext) -> None:
        selection = context.selection()
        self._ranks.by_first(lambda: refit_gates(self._net, selection, self._plan.settings.ce_ic_tradeoff))
        self._ranks.share_weights(self._net)


def train(run: Run, reporter: Reporter, log: Log = ignore_log) -> Path:
    """Run all stages that are not finished yet, and return the file of the trained network.

    Of several processes, the first writes, and `reporter` and `log` are used in it alone.

    Raises:
        KeyboardInterrupt: interrupted; the state is saved.
        GFNetDynnError: as `fit`.
    """
    completed = False
    if not run.ranks.is_first:
        reporter, log = Reporter(), ignore_log
    try:
        _run_stages(run, reporter, log)
        completed = True
    finally:
        reporter.close(completed=completed)
    return run.plan.layout.model(run.record.stages[-1])


def _run_stages(run: Run, reporter: Reporter, log: Log) -> None:
    layout, net, ranks = run.plan.layout, run.net, run.ranks
    keep_freed_memory()
    if ranks.size > 1:
        share_statistics(net)
    net.to(run.fabric.device)
    runner = _StageRunner(run, reporter, log)
    finished = ranks.by_first(lambda: [name for name in run.record.stages if layout.model(name).is_file()])
    reporter.run_started(runner.extents([name for name in run.record.stages if name not in finished]))
    for name in run.record.stages:
        if name in finished:
            _take_over(run, name)
        else:
            found = runner.run(name, layout.state(name))
            ranks.by_first(partial(_keep, run, name, found))


def _take_over(run: Run, stage: str) -> None:
    """Give the network the result of a finished stage."""
    model = run.plan.layout.model(stage)
    state = run.ranks.by_first(lambda: load_checkpoint(model).state)
    load_published(run.net, state, str(model))
    run.ranks.by_first(lambda: run.plan.layout.state(stage).unlink(missing_ok=True))


def _keep(run: Run, stage: str, found: Mapping[str, Any]) -> None:
    """Write the result of a stage, whose state is then of no use."""
    provenance = {**run.record.provenance(), "stage": stage, "device": str(run.fabric.device), **found}
    save_checkpoint(run.plan.layout.model(stage), run.net, run.plan.spec, provenance)
    run.plan.layout.state(stage).unlink(missing_ok=True)
