"""The outputs of all exits of a network over a split."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from gfnet_dynn.data.scenes import Batch
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.model.early_exit import EarlyExitNet


@torch.inference_mode()
def collect(net: EarlyExitNet, batches: Iterable[Batch]) -> ExitArrays:
    """The outputs of all exits over all batches, one or more, in float32; the network's mode is put back afterwards."""
    was_training = net.training
    net.eval()
    logits, gates, labels = [], [], []
    for batch in batches:
        outputs = net(batch.images)
        logits.append(outputs.logits.float().cpu().numpy())
        gates.append(outputs.gate_logits.sigmoid().float().cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
    net.train(was_training)
    return ExitArrays(np.concatenate(logits), np.concatenate(gates), np.concatenate(labels))
