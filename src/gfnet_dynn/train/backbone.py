"""Stage zero: the backbone and its final classifier, when no checkpoint brings them."""

from __future__ import annotations

from collections.abc import Mapping

from gfnet_dynn.data.loaders import Batch
from gfnet_dynn.train.best import BestWeights
from gfnet_dynn.train.losses import exit_losses
from gfnet_dynn.train.optimisation import make_optimizer
from gfnet_dynn.train.stage import EpochSummary, Stage, StageContext, StageMemory, exit_accuracies, train_only


class BackboneStage(Stage):
    """Trains backbone and final classifier by cross-entropy and keeps the epoch that is best on the selection split."""

    name = "backbone"

    def __init__(self, context: StageContext, epochs: int) -> None:
        super().__init__(context, epochs)
        net = context.net
        train_only(net, [net.backbone, net.head])
        self.add_optimizer("network", make_optimizer([net.backbone, net.head], context.settings))
        self._best = BestWeights()

    def step(self, batch: Batch, step: int) -> Mapping[str, float]:
        """Cross-entropy of the final classifier."""
        self.context.net.train()
        logits = self.forward(batch.images).logits[:, -1:]
        loss = exit_losses(logits, batch.labels, self.context.settings.label_smoothing).mean()
        self.descend("network", loss, step)
        return {"loss/network": loss.item()}

    def end_epoch(self, epoch: int) -> EpochSummary:
        """Accuracy of the final classifier."""
        final = exit_accuracies(self.context.selection())["accuracy/final"]
        self._best.offer(final, self.context.net, ties=True)
        return EpochSummary({"accuracy/final": final})

    def memory(self) -> StageMemory:
        """The best weights and their score."""
        return StageMemory(dict(self._best.weights), {"score": self._best.score})

    def recall(self, memory: StageMemory) -> None:
        """As `memory` gave it."""
        self._best.weights, self._best.score = memory.tensors, memory.values["score"]

    def finish(self) -> None:
        """Go back to the best epoch."""
        self._best.restore(self.context.net)
