"""Outputs and features of the network over one part of the data, whose images are divided among the processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from gfnet_dynn.data.scenes import Batch, ImageLoader
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.stages.refit import Features, collect_features


@dataclass(frozen=True)
class Judge:
    """Runs a network over images, `batch` at a time; every process gets what all have found, in the images' order."""

    net: EarlyExitNet
    fabric: Fabric
    ranks: Ranks
    batch: int

    def outputs(self, loader: ImageLoader) -> ExitArrays:
        """Of all exits."""
        count = self.ranks.rows(len(loader)).count
        found = self.ranks.gather(collect(self.net, self._own(loader)).take(np.arange(count)))
        if len(found) == 1:
            return found[0]
        logits, gates, labels = (
            np.concatenate(each) for each in zip(*((one.logits, one.gates, one.labels) for one in found), strict=True)
        )
        return ExitArrays(logits, gates, labels)

    def features(self, loader: ImageLoader) -> Features:
        """What the classifiers see."""
        count = self.ranks.rows(len(loader)).count
        own = collect_features(self.net, self._own(loader))
        found = self.ranks.gather(Features(tuple(each[:count] for each in own.pooled), own.labels[:count]))
        pooled = (torch.cat(each) for each in zip(*(one.pooled for one in found), strict=True))
        return Features(tuple(pooled), torch.cat([one.labels for one in found]))

    def _own(self, loader: ImageLoader) -> Iterator[Batch]:
        """The images of this process, or one where it has none, whose outputs are not used."""
        order = range(len(loader))[self.ranks.rows(len(loader)).span]
        return loader.batches(order, self.batch, self.fabric.device)
