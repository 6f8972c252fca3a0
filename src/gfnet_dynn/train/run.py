"""A training run: its stages one after the other, finished ones kept, a broken one gone on with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from gfnet_dynn.data.loaders import ImageLoader
from gfnet_dynn.data.splits import store_split
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.exits.signals import by_max_probability
from gfnet_dynn.exits.sweep import choose_threshold
from gfnet_dynn.measure.outputs import collect
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import load_published
from gfnet_dynn.storage import move_aside, require_writable, write_json
from gfnet_dynn.train.backbone import BackboneStage
from gfnet_dynn.train.device import choose_device, choose_precision, make_fabric
from gfnet_dynn.train.joint import JointStage
from gfnet_dynn.train.loop import fit
from gfnet_dynn.train.memory import keep_freed_memory
from gfnet_dynn.train.refit import collect_features, refit_gates, refit_heads
from gfnet_dynn.train.reporter import Reporter
from gfnet_dynn.train.run_folder import RunPlan, no_run, read_record, versions
from gfnet_dynn.train.stage import Stage, StageContext
from gfnet_dynn.train.start import InitialNet, initial_net
from gfnet_dynn.train.teacher import Lessons
from gfnet_dynn.train.warmup import WarmupStage


@dataclass(frozen=True)
class Run:
    """A run that is ready to train.

    Attributes:
        plan: what to train.
        record: what is stored of it: the plan, the stages to go through, what the weights started from.
        net: with its initial weights.
        fabric: device and precision.
        notes: what a person should know before it starts.
    """

    plan: RunPlan
    record: dict[str, Any]
    net: EarlyExitNet
    fabric: Fabric
    notes: tuple[str, ...] = ()


def open_run(plan: RunPlan, *, resume: bool) -> Run:
    """Make everything ready, then make the run's folder, or take up the run in it.

    All that can fail comes before the folder is touched. An earlier run that is not resumed is moved aside, never
    overwritten.

    Raises:
        TrainingError: there is no run to resume, it was made with other choices, or the device is not there.
        CheckpointError: the weights to start from do not fit.
        StorageError: nothing can be written there.
    """
    settings = plan.settings
    precision = choose_precision(settings.precision, choose_device(settings.device))
    fabric = make_fabric(settings.device, settings.precision)
    if resume:
        record = read_record(plan, precision)
        require_writable(plan.folder)
        net = _net_to_resume(plan, record)
        changed = record["versions"] != versions()
        notes: tuple[str, ...] = (
            (f"the run was started with {record['versions']}, now {versions()}",) if changed else ()
        )
        if plan.model_file(record["stages"][-1]).is_file():
            notes += ("the run is finished already",)
        return Run(plan, record, net, fabric, notes)
    if plan.teacher is not None and plan.distillation.frequency_weight:
        plan.teacher.feature_channels()  # or it says that it has none
    initial = initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start)
    stages = _stages(plan, has_classifier=initial.has_classifier)
    _require_sense(plan, initial, stages)
    kept = {"stages": stages, "keeps_statistics": initial.keeps_statistics, "started_from": initial.provenance}
    record = {**plan.describe(precision), **kept}
    require_writable(plan.folder.parent)
    broken = plan.has_progress() and not plan.model_file(stages[-1]).is_file()
    moved = move_aside(plan.folder)
    write_json(plan.record_file, record)
    store_split(plan.split_file, plan.data.split)
    what = "the earlier, unfinished run (--resume would have gone on with it)" if broken else "the earlier run"
    return Run(plan, record, initial.net, fabric, (f"{what} was moved to {moved}",) if moved else ())


def _net_to_resume(plan: RunPlan, record: dict[str, Any]) -> EarlyExitNet:
    settings = plan.settings
    if not plan.has_progress():
        return initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start).net
    net = build_net(plan.spec, settings.drop_path)  # its weights come from the stages' files
    if record["keeps_statistics"]:
        net.backbone.keep_statistics()
    return net


def _stages(plan: RunPlan, *, has_classifier: bool) -> list[str]:
    if not plan.spec.exit_blocks:
        return ["backbone"]
    needs_backbone = plan.settings.backbone_epochs is not None or not has_classifier
    return ["backbone", "warmup", "joint"] if needs_backbone else ["warmup", "joint"]


def check_start(plan: RunPlan, *, resume: bool) -> None:
    """Refuse at once what `open_run` would refuse without looking at a teacher, whose training may come before it.

    Raises:
        TrainingError: there is no run to resume, or choices make no sense together.
        CheckpointError: the weights to start from do not fit.
    """
    if resume:
        if not plan.record_file.is_file():
            raise TrainingError(no_run(plan))
        return
    make_fabric(plan.settings.device, plan.settings.precision)
    settings = plan.settings
    initial = initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start)
    _require_sense(plan, initial, _stages(plan, has_classifier=initial.has_classifier))


def _require_sense(plan: RunPlan, initial: InitialNet, stages: list[str]) -> None:
    frozen, depth = plan.settings.freeze_stages, plan.spec.backbone.depth
    if frozen > depth:
        raise TrainingError(f"--freeze-stages {frozen} is more than the {depth} stages that the network has")
    if frozen and not initial.keeps_statistics:
        raise TrainingError("--freeze-stages would keep random weights: start from trained ones, or leave it away")
    if "backbone" not in stages and (plan.unlabelled or plan.distillation.frequency_weight):
        raise TrainingError(
            "--unlabelled and --frequency-weight teach the backbone stage, which --checkpoint-path takes the place of: "
            "give --backbone-epochs too, or leave them away"
        )


def train(run: Run, reporter: Reporter) -> Path:
    """Go through all stages that are not finished yet.

    Args:
        run: opened by `open_run`.
        reporter: told of every step and epoch.

    Returns:
        The file of the trained network.

    Raises:
        KeyboardInterrupt: interrupted; the state is saved.
        GFNetDynnError: as `fit`.
    """
    plan, net, device = run.plan, run.net, run.fabric.device
    keep_freed_memory()
    net.to(device)
    loaders = _Loaders(plan)
    lessons = _lessons(plan, device)
    for name in run.record["stages"]:
        model, state = plan.model_file(name), plan.state_file(name)
        if model.is_file():
            load_published(net, load_checkpoint(model).state, str(model))
        else:
            loader = loaders.of_stage(name)
            context = StageContext(
                fabric=run.fabric,
                net=net,
                settings=plan.settings,
                steps_per_epoch=-(-loader.epoch_images // plan.settings.batch),
                selection=lambda: collect(net, loaders.selection.in_order(plan.settings.batch, device)),
                distillation=plan.distillation,
                lessons=lessons,
            )
            fit(_make_stage(name, context), loader, state, reporter)
            refits = _refit(name, context, loaders, reporter)
            save_checkpoint(model, net, plan.spec, _provenance(run, name, context) | refits)
        state.unlink(missing_ok=True)
    return plan.model_file(run.record["stages"][-1])


class _Loaders:
    """The images of each purpose, decoded once for all stages."""

    def __init__(self, plan: RunPlan) -> None:
        self.augmented = plan.data.training_loader(plan.settings.augmentation)
        self.plain = plan.data.evaluation_loader("train")
        self.selection = plan.data.evaluation_loader("selection")
        unlabelled = plan.unlabelled.files if plan.unlabelled else ()
        self.with_unlabelled = (
            plan.data.training_loader(plan.settings.augmentation, unlabelled) if unlabelled else self.augmented
        )

    def of_stage(self, name: str) -> ImageLoader:
        """Features are learned from images without labels too; exits and gates from those that have one."""
        return self.with_unlabelled if name == "backbone" else self.augmented


def _lessons(plan: RunPlan, device: torch.device) -> Lessons | None:
    if plan.teacher is None:
        return None
    distillation = plan.distillation
    return Lessons(
        plan.teacher.to(device), keep=distillation.views > 0, with_features=distillation.frequency_weight > 0
    )


def _make_stage(name: str, context: StageContext) -> Stage:
    settings = context.settings
    if name == "backbone":
        return BackboneStage(context, settings.backbone_epochs or settings.num_epoch)
    if name == "warmup":
        return WarmupStage(context, settings.warmup_epochs or settings.num_epoch)
    return JointStage(context, settings.num_epoch)


def _refit(name: str, context: StageContext, loaders: _Loaders, reporter: Reporter) -> dict[str, Any]:
    """Fit a stage's classifiers anew in closed form, and after the joint stage the gates to what they say then."""
    if not context.settings.refit:
        return {}
    net, device, batch = context.net, context.fabric.device, context.settings.batch
    last = len(net.heads) - 1
    ways_out = [last] if name == "backbone" else list(range(last))
    if name == "joint" and not context.settings.freeze_backbone:
        ways_out.append(last)
    with context.fabric.autocast():
        train = collect_features(net, loaders.plain.in_order(batch, device))
    selection = collect_features(net, loaders.selection.in_order(batch, device))
    refits = refit_heads(net, train, selection, context.settings.label_smoothing, ways_out)
    reporter.said(f"heads fitted anew in closed form, selection %: {', '.join(map(str, refits))}")
    if name == "joint" and any(refit.kept for refit in refits):
        refit_gates(net, context.selection(), context.settings.ce_ic_tradeoff)
    return {"refit": [asdict(refit) for refit in refits]}


def _provenance(run: Run, stage: str, context: StageContext) -> dict[str, Any]:
    kept = {key: value for key, value in run.record.items() if key not in ("network", "stages", "keeps_statistics")}
    provenance = {**kept, "stage": stage, "device": str(run.fabric.device)}
    if stage == "joint":  # before, the gates have not learned
        arrays, costs, loss = context.selection(), context.net.exit_costs(), context.settings.allowed_loss
        for name, signal in (("threshold", arrays), ("plain_threshold", by_max_probability(arrays))):
            provenance[name] = {**choose_threshold(signal, costs, loss).to_dict(), "chosen_on": "selection split"}
    return provenance
