"""Stage zero: backbone and final classifier, when no checkpoint brings them; with a teacher where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from torch import Tensor, nn

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.train.distillation import Distiller, labelled_mean
from gfnet_dynn.train.engine.optimisation import make_optimizer
from gfnet_dynn.train.losses import exit_losses
from gfnet_dynn.train.stages.stage import BestWeights, Stage, StageContext, standard_error, train_only


class BackboneStage(Stage):
    """Trains backbone and final classifier and keeps the last epoch that is not significantly worse than the best.

    The learning rate falls to zero, so late weights are better converged; one more correct image of a hundred, at an
    epoch in the middle, is noise. Worse means: by more than a standard error on the selection split.
    """

    name = "backbone"

    def __init__(self, context: StageContext, epochs: int) -> None:
        super().__init__(context, epochs)
        net, settings = context.net, context.settings
        train_only(net, [net.backbone, net.head])
        net.backbone.freeze(settings.freeze_blocks)
        self._last = net.backbone.num_blocks - 1
        self.compares_features = context.distillation.frequency_weight > 0
        self._distiller = self._make_distiller()
        self.extra = {"distiller": self._distiller} if self._distiller else {}
        self._learner = nn.ModuleList([net, *self.extra.values()])  # what is trained and kept together
        parts = [net.backbone, net.head, *self.extra.values()]
        self.add_optimizer("network", make_optimizer(parts, settings, net.backbone.pretrained_modules()))
        self.best["learner"] = BestWeights()

    def _make_distiller(self) -> Distiller | None:
        context, net = self.context, self.context.net
        if context.teacher is None:
            return None
        channels = context.teacher.feature_channels() if self.compares_features else None
        distiller = Distiller(context.distillation, net.head, net.backbone.widths[self._last], channels)
        return distiller.to(context.fabric.device)

    def step(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Cross-entropy of the final classifier, and what the teacher adds."""
        net, settings = self.context.net.train(), self.context.settings
        output, mean_of_all = self.teacher_output(batch, step), self.mean_of_all(batch)
        with self.context.fabric.autocast():
            features = net.last_features(batch.images)
            pooled = net.pool_exit(self._last, features)
            logits: Tensor = net.head(pooled)
            losses = exit_losses(logits[:, None], batch.labels, settings.label_smoothing)[:, 0]
            loss = labelled_mean(losses, batch.labels, mean_of_all)
            found = {"loss/network": loss.item()}
            if self._distiller is not None and output is not None:
                student = net.backbone.map(self._last, features)
                loss, taught = self._distiller(logits, pooled, student, loss, output, mean_of_all)
                found["loss/teacher"] = taught.item()
        self.descend("network", loss, step, batch.rows.share)
        return found

    def end_epoch(self, epoch: int) -> Mapping[str, float]:
        """Accuracy of the final classifier, as it will be when a second one is merged into it."""
        with self._distiller.merged(self.context.net.head) if self._distiller else nullcontext():
            right = self.context.selection().correct[:, -1]
        self.best["learner"].offer(float(right.mean()), self._learner, slack=standard_error(right))
        return {"accuracy/final": float(right.mean())}

    def finish(self) -> None:
        """Go back to the epoch that was kept; a second classifier becomes part of the first."""
        self.best["learner"].restore(self._learner)
        if self._distiller is not None:
            self._distiller.merge(self.context.net.head)
