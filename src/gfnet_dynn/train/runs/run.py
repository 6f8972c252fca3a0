"""A training run: its stages one after the other, finished ones kept, a broken one gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from gfnet_dynn.data.learned_from import RECORD
from gfnet_dynn.data.splits.split import store_split
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.pretrained import trunk_of
from gfnet_dynn.model.weights import load_published
from gfnet_dynn.system.storage import move_aside, require_writable, write_json
from gfnet_dynn.train.engine.device import choose_device, choose_precision, make_fabric
from gfnet_dynn.train.engine.memory import keep_freed_memory
from gfnet_dynn.train.engine.reporter import Reporter
from gfnet_dynn.train.runs.lineage import lineage_of_plan
from gfnet_dynn.train.runs.run_folder import RunPlan, no_run, read_record, versions
from gfnet_dynn.train.runs.start import InitialNet, find_checkpoint_file, initial_net
from gfnet_dynn.train.stages.runner import StageRunner


@dataclass(frozen=True)
class Run:
    """A run that is ready to train.

    Attributes:
        plan: what to train.
        record: what is stored of it: the plan, the stages to go through, what the weights started from and learn
            from.
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

    Args:
        plan: what to train.
        resume: go on with the run in its folder.

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
        said: tuple[str, ...] = (f"the run was started with {record['versions']}, now {versions()}",) if changed else ()
        if plan.model_file(record["stages"][-1]).is_file():
            said += ("the run is finished already",)
        return Run(plan, record, net, fabric, said)
    if plan.teacher is not None and plan.distillation.frequency_weight:
        plan.teacher.feature_channels()  # or it says that it has none
    initial = initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start)
    stages = _stages(plan, has_classifier=initial.has_classifier)
    _require_sense(plan, initial, stages)
    require_writable(plan.folder.parent)
    learned_from = lineage_of_plan(plan)  # before the run that it starts from may be moved aside
    kept = {
        "stages": stages,
        "keeps_statistics": initial.keeps_statistics,
        "started_from": _without_images(initial.provenance),
    }
    record = {**plan.describe(precision), **kept, RECORD: learned_from.to_dict()}
    broken = plan.has_progress() and not plan.model_file(stages[-1]).is_file()
    start = find_checkpoint_file(plan.start.checkpoint).resolve() if plan.start.checkpoint else None
    place = plan.folder.resolve()
    moved = move_aside(plan.folder)
    if moved and start and start.is_relative_to(place):
        record["start"]["moved_to"] = str(moved.resolve() / start.relative_to(place))
    write_json(plan.record_file, record)
    store_split(plan.split_file, plan.data.split)
    what = "the earlier, unfinished run (--resume would have gone on with it)" if broken else "the earlier run"
    notes = (*initial.notes, *((f"{what} was moved to {moved}",) if moved else ()))
    return Run(plan, record, initial.net, fabric, notes)


def _without_images(provenance: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An ancestor's provenance; the images that it learned from are among those of the run."""
    return None if provenance is None else {key: value for key, value in provenance.items() if key != RECORD}


def _net_to_resume(plan: RunPlan, record: dict[str, Any]) -> EarlyExitNet:
    settings = plan.settings
    if not plan.has_progress():
        moved = record["start"].get("moved_to")
        start = replace(plan.start, checkpoint=Path(moved)) if moved else plan.start
        return initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, start).net
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
            raise TrainingError(no_run(plan.folder))
        return
    make_fabric(plan.settings.device, plan.settings.precision)
    settings = plan.settings
    initial = initial_net(plan.spec, plan.data, settings.seed, settings.drop_path, plan.start)
    _require_sense(plan, initial, _stages(plan, has_classifier=initial.has_classifier))


def _require_sense(plan: RunPlan, initial: InitialNet, stages: list[str]) -> None:
    frozen, depth = plan.settings.freeze_stages, plan.spec.backbone.depth
    if frozen > depth:
        raise TrainingError(f"--freeze-stages {frozen} is more than the {depth} stages that the network has")
    if frozen and not (plan.start.checkpoint or _come_trained(initial, frozen)):
        raise TrainingError(
            f"--freeze-stages {frozen} would keep random weights: start from trained ones, freeze fewer stages, or "
            "leave it away"
        )
    has_trunk = trunk_of(plan.spec.backbone) is not None and initial.keeps_statistics
    if plan.settings.trunk_lr and not (has_trunk and "backbone" in stages):
        raise TrainingError(
            "--trunk-lr is of a trunk with ImageNet weights in the backbone stage: choose a --model that has one and "
            "give --backbone-epochs, or leave it away"
        )
    if plan.start.new_head and not plan.start.checkpoint:
        raise TrainingError("--new-head goes with a --checkpoint-path, whose classifiers it leaves behind")
    if "backbone" not in stages and (plan.unlabelled or plan.distillation.frequency_weight):
        raise TrainingError(
            "--unlabelled and --frequency-weight teach the backbone stage, which --checkpoint-path takes the place of: "
            "give --backbone-epochs too, or leave them away"
        )


def _come_trained(initial: InitialNet, stages: int) -> bool:
    """Whether all weights of the first stages are ImageNet's, of a network that starts from no checkpoint."""
    backbone = initial.net.backbone
    trained = {part for module in backbone.pretrained_modules() for part in module.modules()}
    return initial.keeps_statistics and trained.issuperset(backbone.first_modules(stages))


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
    plan, net = run.plan, run.net
    keep_freed_memory()
    net.to(run.fabric.device)
    course = StageRunner(plan, net, run.fabric)
    for name in run.record["stages"]:
        model, state = plan.model_file(name), plan.state_file(name)
        if model.is_file():
            load_published(net, load_checkpoint(model).state, str(model))
        else:
            found = course.take(name, state, reporter)
            save_checkpoint(model, net, plan.spec, _provenance(run, name) | found)
        state.unlink(missing_ok=True)
    return plan.model_file(run.record["stages"][-1])


def _provenance(run: Run, stage: str) -> dict[str, Any]:
    kept = {key: value for key, value in run.record.items() if key not in ("network", "stages", "keeps_statistics")}
    return {**kept, "stage": stage, "device": str(run.fabric.device)}
