"""The stages of a run, each with its images and its teacher, and what is fitted and chosen at its end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from gfnet_dynn.data.loading.augment import Normalise
from gfnet_dynn.data.loading.loaders import ImageLoader, cut_into_batches
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.policies import choose_thresholds
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.train.engine.loop import fit
from gfnet_dynn.train.engine.reporter import Reporter
from gfnet_dynn.train.objectives.teacher import TeacherOutputs
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage
from gfnet_dynn.train.stages.refit import collect_features, refit_gates, refit_heads
from gfnet_dynn.train.stages.stage import Stage, StageContext
from gfnet_dynn.train.stages.warmup import WarmupStage


class StageRunner:
    """Takes a network through stages; images that have a label are decoded once for all of them."""

    def __init__(self, plan: RunPlan, net: EarlyExitNet, fabric: Fabric) -> None:
        """Ready for any stage.

        Args:
            plan: what to train.
            net: on the fabric's device; changed in place.
            fabric: device and precision.
        """
        self._plan, self._net, self._fabric = plan, net, fabric
        augmentation, unlabelled = plan.settings.augmentation, plan.unlabelled
        self._augmented = plan.data.training_loader(augmentation)
        self._plain = self._augmented.shown_by(Normalise(plan.spec.input))
        self._selection = plan.data.evaluation_loader("selection")
        # Features are learned from images without labels too; exits and gates from those that have one.
        self._for_backbone = (
            plan.data.training_loader(augmentation, unlabelled.files) if unlabelled else self._augmented
        )
        self._lessons = self._make_lessons()

    def _make_lessons(self) -> TeacherOutputs | None:
        plan, distillation = self._plan, self._plan.distillation
        if plan.teacher is None:
            return None
        return TeacherOutputs(plan.teacher.to(self._fabric.device), keep=distillation.views > 0)

    def take(self, name: str, state: Path, reporter: Reporter) -> dict[str, Any]:
        """Train one stage to its end, or go on with it.

        Args:
            name: `backbone`, `warmup` or `joint`.
            state: where its state is kept.
            reporter: told of every step and epoch.

        Returns:
            What was fitted and chosen on the selection split at its end, as JSON values.

        Raises:
            KeyboardInterrupt: interrupted; the state is saved.
            GFNetDynnError: as `fit`.
        """
        loader = self._for_backbone if name == "backbone" else self._augmented
        context = self._context(loader)
        if not (name == "joint" and self._plan.settings.gates_alone):
            fit(_make_stage(name, context), loader, state, reporter)
        found = self._refit(name, context, reporter) if self._plan.settings.refit else {}
        return {**found, **_thresholds(context)} if name == "joint" else found  # before, the gates have not learned

    def _context(self, loader: ImageLoader) -> StageContext:
        batch = self._plan.settings.batch
        return StageContext(
            fabric=self._fabric,
            net=self._net,
            settings=self._plan.settings,
            steps_per_epoch=len(cut_into_batches(range(loader.epoch_images), batch)),
            selection=lambda: collect(self._net, self._selection.in_order(batch, self._fabric.device)),
            distillation=self._plan.distillation,
            lessons=self._lessons,
        )

    def _refit(self, name: str, context: StageContext, reporter: Reporter) -> dict[str, Any]:
        """Fit a stage's classifiers anew in closed form, and after the joint stage the gates to what they say then."""
        net, settings, device = self._net, self._plan.settings, self._fabric.device
        if name == "joint" and settings.gates_alone:
            refit_gates(net, context.selection(), settings.ce_ic_tradeoff)
            reporter.said("gates fitted in closed form, on a backbone and heads that stay")
            return {}
        last = len(net.heads) - 1
        exit_indices = {"backbone": [last], "warmup": list(range(last)), "joint": list(range(last + 1))}[name]
        with self._fabric.autocast():
            train = collect_features(net, self._plain.in_order(settings.batch, device))
        selection = collect_features(net, self._selection.in_order(settings.batch, device))
        refits = refit_heads(net, train, selection, settings.label_smoothing, exit_indices)
        reporter.said(f"heads fitted anew in closed form, selection %: {', '.join(map(str, refits))}")
        if name == "joint" and any(refit.kept for refit in refits):
            refit_gates(net, context.selection(), settings.ce_ic_tradeoff)
        return {"refit": [asdict(refit) for refit in refits]}


def _make_stage(name: str, context: StageContext) -> Stage:
    settings = context.settings
    if name == "backbone":
        return BackboneStage(context, settings.backbone_epochs or settings.num_epoch)
    if name == "warmup":
        return WarmupStage(context, settings.warmup_epochs or settings.num_epoch)
    return JointStage(context, settings.num_epoch)


def _thresholds(context: StageContext) -> dict[str, Any]:
    arrays, costs, loss = context.selection(), context.net.exit_costs(), context.settings.allowed_loss
    return choose_thresholds(arrays, costs, "selection split", loss)
