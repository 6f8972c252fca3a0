"""Stage two: network and gates train in turns, each in phases counted over the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.train.distillation import exit_teacher_losses
from gfnet_dynn.train.engine.optimisation import make_optimizer
from gfnet_dynn.train.losses import (
    exit_distillation_loss,
    exit_losses,
    exit_probabilities,
    gate_targets,
    positive_weights,
    weighted_exit_loss,
    with_floor,
)
from gfnet_dynn.train.stages.stage import BestWeights, Stage, StageContext, exit_accuracies, standard_error, train_only

_LONGEST_PHASE = 200  # as published
_FEWEST_PHASES = 9


class Phases(NamedTuple):
    """Optimiser steps of a gate phase and of the network phase after it, and from which step gates train to the end."""

    gates: int
    network: int
    last_gates: int


def plan_phases(asked: int | None, gate_share: float, steps: int) -> Phases:
    """Plan the lengths of the phases.

    Args:
        asked: steps of each phase of either kind, as published; or None for an odd number of phases, so that it ends
            with gates: at least nine, of at most 200 steps on average. With 200 always, a small data set would end
            before the network's first phase.
        gate_share: share of all steps for the gates, where nothing is asked: they have five parameters each.
        steps: of the whole stage.
    """
    if asked is not None:
        return Phases(asked, asked, steps)
    turns = max(_FEWEST_PHASES, -(-steps // _LONGEST_PHASE)) // 2  # of the network; the gates have one more
    gates = max(1, round(gate_share * steps / (turns + 1)))
    network = max(1, (steps - (turns + 1) * gates) // turns)
    return Phases(gates, network, min(turns * (gates + network), steps - 1))


class JointStage(Stage):
    """Gate phases and network phases in turns, the gates first: the network's weighting needs them."""

    name = "joint"

    def __init__(self, context: StageContext, epochs: int) -> None:
        super().__init__(context, epochs)
        net, settings = context.net, context.settings
        network = [net.intermediate_heads, *([] if settings.freeze_backbone else [net.backbone, net.head])]
        train_only(net, [*network, net.gates])
        net.backbone.freeze(settings.freeze_blocks)
        rates = replace(settings, lr=settings.joint_lr or settings.lr)
        self.add_optimizer("network", make_optimizer(network, rates))
        self.add_optimizer("gates", AdamW(net.gates.parameters(), lr=settings.gate_lr, weight_decay=0.0))
        self._phases = plan_phases(settings.bilevel_batches, settings.gate_share, self.steps)
        self._costs = net.exit_costs()
        self._gate_loss = nn.BCEWithLogitsLoss(pos_weight=self._positive_weights(context.selection()))
        self.extra["gate_loss"] = self._gate_loss
        self.best["net"] = BestWeights()

    def trains_gates(self, step: int) -> bool:
        """Whether a step, counted over the whole stage, belongs to a gate phase."""
        gates, network, last_gates = self._phases
        return step % (gates + network) < gates or step >= last_gates

    def step(self, batch: Batch, step: int) -> Mapping[str, float]:
        """One gate step or one network step."""
        return self._gate_step(batch, step) if self.trains_gates(step) else self._network_step(batch, step)

    def _gate_step(self, batch: Batch, step: int) -> Mapping[str, float]:
        net = self.context.net.eval()  # gates must see predictions as they are at inference, without stochastic depth
        with torch.no_grad():
            logits = self.forward(batch.images).logits
            targets = gate_targets(exit_losses(logits, batch.labels), self._costs, self.context.settings.ce_ic_tradeoff)
        loss = self._gate_loss(net.gate_logits(logits), targets)
        self.descend("gates", loss, step, batch.rows.share)
        return {"loss/gates": loss.item()}

    def _network_step(self, batch: Batch, step: int) -> Mapping[str, float]:
        settings = self.context.settings
        self.context.net.train(not settings.freeze_backbone)
        outputs = self.forward(batch.images)
        losses = exit_losses(outputs.logits, batch.labels, settings.label_smoothing)
        probabilities = with_floor(exit_probabilities(outputs.gate_logits.sigmoid()), settings.exit_floor)
        classification = weighted_exit_loss(losses, probabilities, self.mean_of_all(batch))
        distillation = self._distillation(batch, outputs.logits, step)
        loss = classification + settings.exit_distillation * distillation
        self.descend("network", loss, step, batch.rows.share)
        return {"loss/network": classification.item(), "loss/distillation": distillation.item()}

    def _distillation(self, batch: Batch, logits: Tensor, step: int) -> Tensor:
        """From the teacher into every exit, or without one from the final exit into the earlier ones.

        A sum over the exits, as the cross-entropies beside it are.
        """
        settings = self.context.distillation
        if settings.distillation != "none" and (teacher := self.teacher_output(batch, step)) is not None:
            return exit_teacher_losses(logits, teacher.logits, settings).mean(dim=0).sum()
        return exit_distillation_loss(logits)

    def end_epoch(self, epoch: int) -> Mapping[str, float]:
        """Score by the mean accuracy of all exits; weight the gates' positives anew.

        Of the second half's epochs the last is kept that is not worse than the best by more than a standard error:
        before, the gates have not learned, and the score does not see them.
        """
        arrays = self.context.selection()
        self._gate_loss.pos_weight = self._positive_weights(arrays)
        accuracies = exit_accuracies(arrays)
        right = arrays.correct.mean(axis=1)
        if 2 * (epoch + 1) >= self.epochs:
            self.best["net"].offer(float(right.mean()), self.context.net, slack=standard_error(right))
        return {**accuracies, "accuracy/mean": float(right.mean())}

    def _positive_weights(self, arrays: ExitArrays) -> Tensor:
        losses = exit_losses(torch.from_numpy(arrays.logits), torch.from_numpy(arrays.labels))
        targets = gate_targets(losses, self._costs, self.context.settings.ce_ic_tradeoff)
        return positive_weights(targets).to(self.context.fabric.device)

    def finish(self) -> None:
        """Go back to the epoch that was kept."""
        self.best["net"].restore(self.context.net)
