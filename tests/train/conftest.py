"""A tiny network and tiny data, ready for a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from gfnet_dynn.data.catalogue.configs import DatasetConfig
from gfnet_dynn.data.request import SplitSettings
from gfnet_dynn.data.scenes import SceneData, prepare
from gfnet_dynn.data.source import Source
from gfnet_dynn.evaluation.outputs import collect
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from gfnet_dynn.train.engine.device import make_fabric
from gfnet_dynn.train.request import TrainSettings
from gfnet_dynn.train.stages.stage import StageContext
from tests.conftest import CLASSES

TINY = NetSpec(GFNetSpec(width=16, depth=3, patch_size=8), (0, 1), InputSpec(32), CLASSES)

SPLIT = SplitSettings(selection_share=0.2)

QUICK = TrainSettings(batch=16, num_epoch=3, lr=3e-3, label_smoothing=0.0, drop_path=0.1, device="cpu")


def tiny_data(root: Path, folder: Path, split: SplitSettings = SPLIT) -> SceneData:
    source = Source("Stripes", DatasetConfig(num_classes=4, default_input_size=32), root)
    return prepare(source, TINY.input, split, folder, ignore_progress)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in processes that are started: sums over several threads may differ in the last bit from sums over one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(scenes: Path, tmp_path: Path) -> SceneData:
    return tiny_data(scenes, tmp_path / "splits")


@pytest.fixture
def fabric() -> Fabric:
    return make_fabric("cpu", "32-true")


MakeContext = Callable[..., StageContext]


@pytest.fixture
def make_context(data: SceneData, fabric: Fabric) -> MakeContext:
    """A function that builds a context with fresh weights; keyword arguments change the settings."""

    def make(**changes: object) -> StageContext:
        settings = replace(QUICK, **changes)  # type: ignore[arg-type] # by name
        torch.manual_seed(settings.seed)
        net = build_net(TINY, settings.drop_path)
        selection = data.evaluation_loader("selection")
        steps = -(-len(data.split.parts["train"]) // settings.batch)
        return StageContext(
            fabric, net, settings, steps, lambda: collect(net, selection.in_order(16, torch.device("cpu")))
        )

    return make
