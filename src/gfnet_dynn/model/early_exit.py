"""A backbone with a head and a gate after some of its blocks, and a forward pass that stops where it may.

The only place that knows which backbones there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gfnet_dynn.exits import per_exit, should_exit
from gfnet_dynn.model.backbone import Backbone, linear_macs
from gfnet_dynn.model.efficientnet_lite import EfficientNetLite, Hybrid
from gfnet_dynn.model.gfnet import GFNet, init_weights
from gfnet_dynn.spec.backbone import BackboneSpec, EfficientNetLiteSpec, ExitPooling, GFNetSpec
from gfnet_dynn.spec.network import NetSpec


class ExitOutputs(NamedTuple):
    """Outputs of all exits for a batch: logits [B, G + 1, K], the final classifier last, and those of gates [B, G]."""

    logits: Tensor
    gate_logits: Tensor


class Decision(NamedTuple):
    """Answers of the gated network: logits [B, K] of the exit taken, int64 [B], 0 to G; G is the final classifier."""

    logits: Tensor
    exits: Tensor


def confidence_statistics(logits: Tensor) -> Tensor:
    """Statistics of p = softmax(logits) that a gate sees, from logits [B, K] with K at least 2; natural logarithms.

    Computed from log-probabilities in float32, so confident predictions give no 0 · log 0; p² / Σp² is the softmax of
    the doubled logits.

    Returns:
        [B, 4]: max p, entropy of p, largest minus second largest p, entropy of p² / Σp². Detached: a gate judges a
        prediction and must not change it.
    """
    logits = logits.detach().float()
    log_p = logits.log_softmax(dim=1)
    log_q = (2 * logits).log_softmax(dim=1)
    first, second = log_p.exp().topk(2, dim=1).values.unbind(dim=1)
    return torch.stack((first, _entropy(log_p), first - second, _entropy(log_q)), dim=1)


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(dim=1)


class Gate(nn.Module):
    """Predicts whether the prediction of one exit is good enough, by five parameters on four statistics of it.

    Source: JEI-DNN (Chataoui et al., arXiv 2310.09163).
    """

    num_statistics = 4

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(self.num_statistics, 1)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits of the exit's head [B, K] → logit of the gate [B]; its sigmoid is the gate g."""
        with torch.autocast(logits.device.type, enabled=False):
            logit: Tensor = self.linear(confidence_statistics(logits)).squeeze(1)
        return logit


class EarlyExitNet(nn.Module):
    """Backbone, final classifier, and a head with a gate for each early exit.

    Attributes:
        exit_blocks: 0-based blocks after which the early exits stand, ascending, without the last block.
        num_classes: K.
        exit_pooling: what the exits see of the features.
    """

    def __init__(
        self, backbone: Backbone, exit_blocks: Sequence[int], num_classes: int, exit_pooling: ExitPooling = "mean"
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.exit_blocks = tuple(exit_blocks)
        self.num_classes = num_classes
        self.exit_pooling = exit_pooling
        self.head = nn.Linear(self._exit_width(backbone.num_blocks - 1), num_classes)
        self.intermediate_heads = nn.ModuleList(
            nn.Linear(self._exit_width(block), num_classes) for block in self.exit_blocks
        )
        self.gates = nn.ModuleList(Gate() for _ in self.exit_blocks)
        init_weights(self.head)
        self.intermediate_heads.apply(init_weights)

    def forward(self, images: Tensor) -> ExitOutputs:
        """Run the whole network and every exit on normalised images [B, 3, S, S]."""
        logits = [head(pooled) for head, pooled in zip(self.heads, self.pooled(images), strict=True)]
        stacked = torch.stack(logits, dim=1)
        return ExitOutputs(stacked, self.gate_logits(stacked))

    @property
    def heads(self) -> list[nn.Linear]:
        """The classifiers of all exits, the final one last."""
        return [*(cast("nn.Linear", head) for head in self.intermediate_heads), self.head]

    def last_features(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, S, S] → features after the last block; no exit is computed."""
        return self._run_blocks(0, self.backbone.num_blocks, self.backbone.stem(images))

    def pooled(self, images: Tensor) -> list[Tensor]:
        """Normalised images [B, 3, S, S] → input of each classifier: for each exit [B, width]."""
        features = self.backbone.stem(images)
        pooled: list[Tensor] = []
        for index in range(self.backbone.num_blocks):
            features = self.backbone.block(index, features)
            if index in self.exit_blocks:
                pooled.append(self.pool_exit(index, features))
        return [*pooled, self.pool_exit(self.backbone.num_blocks - 1, features)]

    def pool_exit(self, block: int, features: Tensor) -> Tensor:
        """Input of the head after a block, from its features: [B, width]."""
        pool = self.backbone.pool_with_deviation if self._sees_deviation(block) else self.backbone.pool
        return pool(block, features)

    def gate_logits(self, logits: Tensor) -> Tensor:
        """Logit of each gate for its exit's prediction: [B, G + 1, K] → [B, G]; the final classifier has no gate."""
        gates = [gate(logits[:, index]) for index, gate in enumerate(self.gates)]
        return torch.stack(gates, dim=1) if gates else logits.new_empty(len(logits), 0)

    @torch.inference_mode()
    def decide(self, images: Tensor, threshold: float | Sequence[float]) -> Decision:
        """Run each sample [3, S, S] only as far as its exit; samples that continue are compacted.

        Raises:
            ThresholdError: the thresholds do not fit the exits.
        """
        thresholds = per_exit(threshold, len(self.gates))
        logits = images.new_empty(len(images), self.num_classes)
        exits = torch.full((len(images),), len(thresholds), device=images.device)
        if not len(images):
            return Decision(logits, exits)
        remaining = torch.arange(len(images), device=images.device)
        features = self.backbone.stem(images)
        done = 0
        for exit_index, (block, value) in enumerate(zip(self.exit_blocks, thresholds, strict=True)):
            features = self._run_blocks(done, block + 1, features)
            done = block + 1
            exit_logits = self._logits(exit_index, block, features)
            exiting = should_exit(self.gates[exit_index](exit_logits).sigmoid(), value)
            logits[remaining[exiting]] = exit_logits[exiting].to(logits.dtype)
            exits[remaining[exiting]] = exit_index
            if exiting.all():
                return Decision(logits, exits)
            if exiting.any():
                remaining, features = remaining[~exiting], features[~exiting]
        features = self._run_blocks(done, self.backbone.num_blocks, features)
        logits[remaining] = self._logits(-1, self.backbone.num_blocks - 1, features).to(logits.dtype)
        return Decision(logits, exits)

    def exit_macs(self) -> tuple[int, ...]:
        """Multiply-accumulates for one image up to each exit, with its head and gate and the earlier ones: [G + 1]."""
        after_block = list(accumulate(self.backbone.block_macs, initial=self.backbone.stem_macs))[1:]
        exit_macs: list[int] = []
        spent_on_exits = 0
        for block in self.exit_blocks:
            spent_on_exits += linear_macs(1, self._exit_width(block), self.num_classes)
            spent_on_exits += linear_macs(1, Gate.num_statistics, 1)
            exit_macs.append(after_block[block] + spent_on_exits)
        final_head = linear_macs(1, self._exit_width(self.backbone.num_blocks - 1), self.num_classes)
        return (*exit_macs, after_block[-1] + spent_on_exits + final_head)

    def exit_costs(self) -> tuple[float, ...]:
        """The shares c_l of the full network's multiply-accumulates, [G + 1]; the last is 1."""
        macs = self.exit_macs()
        return tuple(count / macs[-1] for count in macs)

    def _sees_deviation(self, block: int) -> bool:
        final = block == self.backbone.num_blocks - 1
        return self.exit_pooling == "mean-deviation-all" or (self.exit_pooling == "mean-deviation" and not final)

    def _exit_width(self, block: int) -> int:
        return self.backbone.widths[block] * (2 if self._sees_deviation(block) else 1)

    def _run_blocks(self, start: int, end: int, features: Tensor) -> Tensor:
        for index in range(start, end):
            features = self.backbone.block(index, features)
        return features

    def _logits(self, exit_index: int, block: int, features: Tensor) -> Tensor:
        logits: Tensor = self.heads[exit_index](self.pool_exit(block, features))
        return logits


def build_backbone(spec: BackboneSpec, image_size: int, drop_path: float = 0.0) -> Backbone:
    """The backbone of a spec, with fresh weights from torch's generator; a SpecError where the input does not fit."""
    if isinstance(spec, GFNetSpec):
        return GFNet(spec, image_size, drop_path)
    if isinstance(spec, EfficientNetLiteSpec):
        return EfficientNetLite(spec, image_size, drop_path)
    return Hybrid(spec, image_size, drop_path)


def build_net(spec: NetSpec, drop_path: float = 0.0) -> EarlyExitNet:
    """The early-exit network that a spec describes, with fresh weights."""
    backbone = build_backbone(spec.backbone, spec.input.size, drop_path)
    return EarlyExitNet(backbone, spec.exit_blocks, len(spec.classes), spec.exit_pooling)
