"""A training run in its folder: stages one after the other, finished ones kept, a broken one gone on with."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from gfnet_dynn import __version__
from gfnet_dynn.data.scenes import SceneData
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.exits.sweep import cheapest_within, sweep
from gfnet_dynn.measure.outputs import collect
from gfnet_dynn.model.checkpoint import load_checkpoint, save_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import load_published
from gfnet_dynn.spec import NetSpec
from gfnet_dynn.storage import move_aside, require_writable, write_json
from gfnet_dynn.train.backbone import BackboneStage
from gfnet_dynn.train.device import make_fabric
from gfnet_dynn.train.joint import JointStage
from gfnet_dynn.train.loop import fit
from gfnet_dynn.train.reporter import Reporter
from gfnet_dynn.train.settings import TrainSettings
from gfnet_dynn.train.stage import Stage, StageContext
from gfnet_dynn.train.start import MODEL_FILE, RESULT_FOLDER, Start, initial_net
from gfnet_dynn.train.warmup import WarmupStage

ALLOWED_LOSS = 0.01
"""Accuracy on the selection split that the stored threshold may lose against the full network."""

_RUN_FILE = "run.json"
_STATE_FILE = "state.safetensors"
_MAY_CHANGE = ("device", "checkpoint_minutes")  # neither decides what is learned


def run_folder(output: Path, data_set: str, tradeoff: float) -> Path:
    """Where a run lies, named as published."""
    return output / f"checkpoint_{data_set}_{tradeoff}_confEE"


@dataclass(frozen=True)
class RunPlan:
    """What to train, on what, and how.

    Attributes:
        spec: the network.
        data: split and ready.
        settings: every choice.
        folder: the run's own.
        start: what to start from.
    """

    spec: NetSpec
    data: SceneData
    settings: TrainSettings
    folder: Path
    start: Start = field(default_factory=Start)

    def describe(self) -> dict[str, Any]:
        """All that decides the result, as JSON values."""
        return {
            "network": self.spec.to_dict(),
            "data": dict(self.data.describe()),
            "settings": self.settings.to_dict(),
            "start": self.start.describe(),
            "versions": {"gfnet_dynn": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def open_run(plan: RunPlan, *, resume: bool) -> str | None:
    """Make the run's folder, or check that the run in it is the one to go on with.

    An earlier run that is not resumed is moved aside, never overwritten.

    Returns:
        A line for a person, where there is something to say.

    Raises:
        TrainingError: there is no run to resume, or it was made with other choices.
        StorageError: nothing can be written there.
    """
    described = json.loads(json.dumps(plan.describe()))
    file = plan.folder / _RUN_FILE
    if resume:
        if not file.is_file():
            raise TrainingError(f"no run to resume in {plan.folder}: start it without --resume")
        _require_same(json.loads(file.read_text(encoding="utf-8")), described, plan.folder)
        require_writable(plan.folder)
        return None
    require_writable(plan.folder.parent)
    moved = move_aside(plan.folder)
    write_json(file, described)
    return f"the earlier run was moved to {moved}" if moved else None


def _require_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    differing = [
        f"{key}: {stored['settings'].get(key)} then, {value} now"
        for key, value in wanted["settings"].items()
        if key not in _MAY_CHANGE and stored["settings"].get(key) != value
    ]
    differing += [key for key in ("network", "data", "start") if stored[key] != wanted[key]]
    if differing:
        raise TrainingError(
            f"the run in {folder} was started with other choices ({'; '.join(differing)}): resume with the same, or "
            "start anew without --resume"
        )


def train(plan: RunPlan, reporter: Reporter) -> Path:
    """Run all stages that are not finished yet.

    Args:
        plan: with its folder opened by `open_run`.
        reporter: told of every step and epoch.

    Returns:
        The file of the trained network.

    Raises:
        KeyboardInterrupt: interrupted; the state is saved.
        GFNetDynnError: as `fit`, and for a checkpoint that does not fit.
    """
    settings, data = plan.settings, plan.data
    net, has_classifier = initial_net(plan.spec, settings.seed, settings.drop_path, plan.start)
    fabric = make_fabric(settings.device, settings.precision)
    net.to(fabric.device)
    training = data.training_loader(settings.augmentation)
    selection = data.evaluation_loader("selection")
    context = StageContext(
        fabric=fabric,
        net=net,
        settings=settings,
        steps_per_epoch=-(-len(training) // settings.batch),
        selection=lambda: collect(net, selection.in_order(settings.batch, fabric.device)),
    )
    model = plan.folder / RESULT_FOLDER / MODEL_FILE
    for stage_folder, make_stage in _stages(context, has_classifier):
        model = plan.folder / stage_folder / MODEL_FILE
        state = plan.folder / stage_folder / _STATE_FILE
        if model.is_file():
            load_published(net, load_checkpoint(model).state, str(model))
            continue
        stage = make_stage()
        fit(stage, training, state, reporter)
        save_checkpoint(model, net, plan.spec, _provenance(plan, stage, context, fabric))
        state.unlink(missing_ok=True)
    return model


def _stages(context: StageContext, has_classifier: bool) -> list[tuple[str, Callable[[], Stage]]]:
    settings = context.settings
    backbone_epochs = settings.backbone_epochs or (0 if has_classifier else settings.num_epoch)
    warmup_epochs = settings.warmup_epochs or settings.num_epoch
    stages: list[tuple[str, Callable[[], Stage]]] = []
    if backbone_epochs:
        stages.append(("checkpoint_backbone", lambda: BackboneStage(context, backbone_epochs)))
    if context.net.exit_stages:
        stages.append(("checkpoint_warmup", lambda: WarmupStage(context, warmup_epochs)))
        stages.append((RESULT_FOLDER, lambda: JointStage(context, settings.num_epoch)))
    return stages


def _provenance(plan: RunPlan, stage: Stage, context: StageContext, fabric: Fabric) -> dict[str, Any]:
    described = plan.describe()
    del described["network"]
    return {
        **described,
        "stage": stage.name,
        "device": str(fabric.device),
        "threshold": _choose_threshold(context.net, context),
    }


def _choose_threshold(net: EarlyExitNet, context: StageContext) -> dict[str, Any]:
    points = sweep(context.selection(), net.exit_costs())
    chosen, full = cheapest_within(points, ALLOWED_LOSS), points[-1]
    return {
        "value": list(chosen.thresholds) if chosen.mean_cost < full.mean_cost else None,
        "chosen_on": "selection split",
        "rule": f"cheapest of the swept thresholds that loses at most {ALLOWED_LOSS} of accuracy there; no guarantee",
        "selection_accuracy": chosen.accuracy,
        "selection_accuracy_full": full.accuracy,
        "selection_mean_cost": chosen.mean_cost,
    }
