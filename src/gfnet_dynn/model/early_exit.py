"""A staged backbone with a head and a gate after some of its stages, and a forward pass that stops where it may."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gfnet_dynn.exits.rule import per_exit, should_exit
from gfnet_dynn.model.backbone import Backbone
from gfnet_dynn.model.cost import linear_macs
from gfnet_dynn.model.gate import Gate
from gfnet_dynn.model.gfnet import init_weights
from gfnet_dynn.spec.backbone import ExitPooling


class ExitOutputs(NamedTuple):
    """What all exits say about a batch.

    Attributes:
        logits: [B, G + 1, K], the final classifier last.
        gate_logits: [B, G].
    """

    logits: Tensor
    gate_logits: Tensor


class Decision(NamedTuple):
    """What the gated network answers.

    Attributes:
        logits: [B, K] of the exit taken.
        exits: int64 [B], 0 to G; G is the final classifier.
    """

    logits: Tensor
    exits: Tensor


class EarlyExitNet(nn.Module):
    """Backbone, final classifier, and a head with a gate for each early exit.

    Attributes:
        exit_stages: 0-based stages after which the early exits stand, ascending, without the last stage.
        num_classes: K.
        exit_pooling: what the early exits see of the features.
    """

    def __init__(
        self,
        backbone: Backbone,
        exit_stages: Sequence[int],
        num_classes: int,
        exit_pooling: ExitPooling = "mean",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.exit_stages = tuple(exit_stages)
        self.num_classes = num_classes
        self.exit_pooling = exit_pooling
        self.head = nn.Linear(backbone.widths[-1], num_classes)
        self.intermediate_heads = nn.ModuleList(
            nn.Linear(self._exit_width(stage), num_classes) for stage in self.exit_stages
        )
        self.gates = nn.ModuleList(Gate() for _ in self.exit_stages)
        init_weights(self.head)
        self.intermediate_heads.apply(init_weights)

    def forward(self, images: Tensor) -> ExitOutputs:
        """Run the whole network and every exit.

        Args:
            images: normalised, [B, 3, S, S].
        """
        stacked = torch.stack(
            [head(pooled) for head, pooled in zip(self.heads, self.pooled(images), strict=True)], dim=1
        )
        return ExitOutputs(stacked, self.gate_logits(stacked))

    @property
    def heads(self) -> list[nn.Linear]:
        """The classifier of every way out, the final one last."""
        return [*(cast("nn.Linear", head) for head in self.intermediate_heads), self.head]

    def last_features(self, images: Tensor) -> Tensor:
        """What comes out of the last stage, as the backbone has it; no exit is computed.

        Args:
            images: normalised, [B, 3, S, S].
        """
        return self._run_stages(0, self.backbone.num_stages, self.backbone.stem(images))

    def pooled(self, images: Tensor) -> list[Tensor]:
        """What each classifier sees: for each way out [B, width of its input].

        Args:
            images: normalised, [B, 3, S, S].
        """
        features = self.backbone.stem(images)
        pooled: list[Tensor] = []
        for index in range(self.backbone.num_stages):
            features = self.backbone.stage(index, features)
            if index in self.exit_stages:
                pooled.append(self.pool_exit(index, features))
        return [*pooled, self.pool_exit(self.backbone.num_stages - 1, features)]

    def pool_exit(self, stage: int, features: Tensor) -> Tensor:
        """What the head after a stage sees of its features; the final classifier sees their mean."""
        by_mean = self.exit_pooling == "mean" or stage == self.backbone.num_stages - 1
        return self.backbone.pool(stage, features) if by_mean else self.backbone.pool_with_deviation(stage, features)

    def gate_logits(self, logits: Tensor) -> Tensor:
        """What each gate says of its exit's prediction: [B, G + 1, K] → [B, G]; the final classifier has no gate."""
        verdicts = [gate(logits[:, index]) for index, gate in enumerate(self.gates)]
        return torch.stack(verdicts, dim=1) if verdicts else logits.new_empty(len(logits), 0)

    @torch.inference_mode()
    def decide(self, images: Tensor, threshold: float | Sequence[float]) -> Decision:
        """Run each sample only as far as it needs: samples that stay are compacted and go on, the others never do.

        Args:
            images: normalised, [B, 3, S, S].
            threshold: τ, one for all exits or one each.

        Raises:
            ThresholdError: the thresholds do not fit the exits.
        """
        thresholds = per_exit(threshold, len(self.gates))
        logits = images.new_empty(len(images), self.num_classes)
        exits = torch.full((len(images),), len(thresholds), device=images.device)
        if not len(images):
            return Decision(logits, exits)
        staying = torch.arange(len(images), device=images.device)
        features = self.backbone.stem(images)
        done = 0
        for exit_index, (stage, value) in enumerate(zip(self.exit_stages, thresholds, strict=True)):
            features = self._run_stages(done, stage + 1, features)
            done = stage + 1
            exit_logits = self._exit_logits(exit_index, features)
            left = should_exit(self.gates[exit_index](exit_logits).sigmoid(), value)
            logits[staying[left]] = exit_logits[left].to(logits.dtype)
            exits[staying[left]] = exit_index
            if left.all():
                return Decision(logits, exits)
            if left.any():
                staying, features = staying[~left], features[~left]
        features = self._run_stages(done, self.backbone.num_stages, features)
        logits[staying] = self._final_logits(features).to(logits.dtype)
        return Decision(logits, exits)

    def exit_macs(self) -> tuple[int, ...]:
        """Multiply-accumulates for one image up to and including each exit, its head and gate and the earlier ones.

        Returns:
            G + 1 counts; the last is that of the full network with all its exits.
        """
        after_stage = list(accumulate(self.backbone.stage_macs, initial=self.backbone.stem_macs))[1:]
        exit_macs: list[int] = []
        spent_on_exits = 0
        for stage in self.exit_stages:
            spent_on_exits += linear_macs(1, self._exit_width(stage), self.num_classes)
            spent_on_exits += linear_macs(1, Gate.num_statistics, 1)
            exit_macs.append(after_stage[stage] + spent_on_exits)
        final_head = linear_macs(1, self.backbone.widths[-1], self.num_classes)
        return (*exit_macs, after_stage[-1] + spent_on_exits + final_head)

    def exit_costs(self) -> tuple[float, ...]:
        """The shares c_l of the full network's multiply-accumulates, [G + 1]; the last is 1."""
        macs = self.exit_macs()
        return tuple(count / macs[-1] for count in macs)

    def _exit_width(self, stage: int) -> int:
        return self.backbone.widths[stage] * (1 if self.exit_pooling == "mean" else 2)

    def _run_stages(self, start: int, end: int, features: Tensor) -> Tensor:
        for index in range(start, end):
            features = self.backbone.stage(index, features)
        return features

    def _exit_logits(self, exit_index: int, features: Tensor) -> Tensor:
        logits: Tensor = self.intermediate_heads[exit_index](self.pool_exit(self.exit_stages[exit_index], features))
        return logits

    def _final_logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool_exit(self.backbone.num_stages - 1, features))
        return logits
