"""Stage one: the heads of the early exits warm up on a frozen backbone, each until it no longer gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.train.distillation import exit_teacher_losses
from gfnet_dynn.train.engine.optimisation import make_optimizer
from gfnet_dynn.train.losses import exit_losses, warmup_loss
from gfnet_dynn.train.stages.stage import BestWeights, Stage, StageContext, exit_accuracies, train_only


class WarmupStage(Stage):
    """Trains the early heads; one that has not gained for `patience` epochs goes back to its best and is frozen."""

    name = "warmup"

    def __init__(self, context: StageContext, epochs: int) -> None:
        super().__init__(context, epochs)
        net = context.net
        train_only(net, [net.intermediate_heads])
        self.add_optimizer("heads", make_optimizer([net.intermediate_heads], context.settings))
        self.best = {str(index): BestWeights() for index in range(len(net.intermediate_heads))}
        self._training = [True] * len(net.intermediate_heads)

    def step(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Weighted loss of the heads still training, with distillation; the backbone runs as at inference."""
        self.context.net.eval()
        logits = self.forward(batch.images).logits
        losses = exit_losses(logits, batch.labels, self.context.settings.label_smoothing)
        distillation = self.context.distillation
        if distillation.distillation != "none" and (teacher := self.teacher_output(batch, step)) is not None:
            taught = exit_teacher_losses(logits, teacher.logits, distillation)
            losses = (1 - distillation.distillation_weight) * losses + distillation.distillation_weight * taught
        loss = warmup_loss(losses, self._training)
        self.descend("heads", loss, step, batch.rows.share)
        return {"loss/heads": loss.item()}

    def end_epoch(self, epoch: int) -> Mapping[str, float]:
        """Keep each head's best; freeze those whose patience ended."""
        accuracies = exit_accuracies(self.context.selection())
        for index, head in enumerate(self.context.net.intermediate_heads):
            if not self._training[index]:
                continue
            best = self.best[str(index)]
            best.offer(accuracies[f"accuracy/exit{index + 1}"], head)
            if best.epochs_without >= self.context.settings.patience:
                self._freeze(index)
        frozen = len(self._training) - sum(self._training)
        self.finished = not any(self._training)
        return {**accuracies, "frozen": float(frozen)}

    def _freeze(self, index: int) -> None:
        head = self.context.net.intermediate_heads[index]
        self.best[str(index)].restore(head)
        head.requires_grad_(False)
        for parameter in head.parameters():
            parameter.grad = None  # a frozen head must not be moved by the optimiser's momentum
        self._training[index] = False

    def recall(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what `memory` returned; frozen heads are frozen again."""
        super().recall(tensors, values)
        for index, best in enumerate(self.best.values()):
            if best.epochs_without >= self.context.settings.patience:
                self._freeze(index)

    def finish(self) -> None:
        """Every head goes back to its best."""
        for best, head in zip(self.best.values(), self.context.net.intermediate_heads, strict=True):
            best.restore(head)
