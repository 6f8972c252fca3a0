"""The stages of a run, each with its images and its teacher, and what is fitted and chosen at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from gfnet_dynn.data.augment import Normalise
from gfnet_dynn.data.scenes import ImageLoader, cut_into_batches
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.evaluation.policies import choose_thresholds
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.progress import Log
from gfnet_dynn.train.engine.loop import fit
from gfnet_dynn.train.engine.tracking import Reporter, StageExtent
from gfnet_dynn.train.runs.run_folder import RunPlan
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage
from gfnet_dynn.train.stages.refit import collect_features, refit_gates, refit_heads
from gfnet_dynn.train.stages.stage import Stage, StageContext, exit_accuracies
from gfnet_dynn.train.stages.warmup import WarmupStage

_STAGES: Mapping[str, type[Stage]] = {each.name: each for each in (BackboneStage, WarmupStage, JointStage)}


class StageRunner:
    """Runs the stages on one network; images with a label are decoded once for all of them."""

    def __init__(self, plan: RunPlan, net: EarlyExitNet, fabric: Fabric, reporter: Reporter, log: Log) -> None:
        self._plan, self._net, self._fabric = plan, net, fabric
        self._reporter, self._log = reporter, log
        augmentation, unlabelled = plan.settings.augmentation, plan.unlabelled
        self._augmented = plan.data.training_loader(augmentation)
        self._plain = self._augmented.shown_by(Normalise(plan.spec.input))
        self._selection = plan.data.evaluation_loader("selection")
        # Features are learned from images without labels too; exits and gates from those that have one.
        self._for_backbone = (
            plan.data.training_loader(augmentation, unlabelled.files) if unlabelled else self._augmented
        )
        self._teacher = plan.teacher and plan.teacher.to(fabric.device)

    def extents(self, names: Sequence[str]) -> list[StageExtent]:
        """How long some stages are."""
        return [StageExtent(name, self._epochs(name), self._loader(name).epoch_images) for name in names]

    def run(self, name: str, state: Path) -> dict[str, Any]:
        """Train one stage to its end, or continue it; errors are those of `fit`.

        Returns:
            What was fitted and chosen on the selection split at its end, as JSON values.
        """
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
        self._reporter.stage_ended(name, accuracies)
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
            lambda: collect(self._net, self._selection.in_order(batch, self._fabric.device)),
            plan.distillation,
            self._teacher,
        )

    def _refit(self, name: str, context: StageContext) -> dict[str, Any]:
        """Refit a stage's classifiers in closed form, and after the joint stage the gates to their new outputs."""
        net, settings, device = self._net, self._plan.settings, self._fabric.device
        if name == "joint" and settings.gates_alone:
            refit_gates(net, context.selection(), settings.ce_ic_tradeoff)
            self._log("gates fitted in closed form; backbone and classifiers are frozen")
            return {}
        last = len(net.heads) - 1
        exit_indices = {"backbone": [last], "warmup": list(range(last)), "joint": list(range(last + 1))}[name]
        with self._fabric.autocast():
            train = collect_features(net, self._plain.in_order(settings.batch, device))
        selection = collect_features(net, self._selection.in_order(settings.batch, device))
        refits = refit_heads(net, train, selection, settings.label_smoothing, exit_indices)
        self._log(f"classifiers refitted in closed form, selection accuracy: {', '.join(map(str, refits))}")
        if name == "joint" and any(refit.kept for refit in refits):
            refit_gates(net, context.selection(), settings.ce_ic_tradeoff)
        return {"refit": [asdict(refit) for refit in refits]}
