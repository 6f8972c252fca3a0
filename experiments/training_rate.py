"""Compare the speed of training with the simplest correct loop.

    python experiments/training_rate.py [ROUNDS]

The plain loop runs in float32: for GFNet with filters by torch.fft; for EfficientNet-Lite0 with its published port to
PyTorch (package efficientnet-lite-pytorch). Ours is the step of `gfnet-dynn train`, for EfficientNet-Lite0 with
ImageNet weights, with and without frozen blocks. All process the same batches, augmented by the same code. Each
measurement is a fresh process, the loops alternate, the medians count. Takes about eight minutes on two cores; writes
docs/results/training_rate.json.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator

from figures import ROOT, write_figures

from gfnet_dynn.cli.app import wait_politely

wait_politely()  # before torch is imported

import torch
from torch import nn

from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.data.scenes import Batch, SceneData, prepare
from gfnet_dynn.data.source import locate
from gfnet_dynn.model import gfnet
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.progress import ignore_progress
from gfnet_dynn.spec.backbone import find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.machine import keep_freed_memory, processor
from gfnet_dynn.train.engine.device import make_fabric
from gfnet_dynn.train.request import Start, TrainSettings
from gfnet_dynn.train.runs.start import initial_net
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.stage import StageContext

CPU = torch.device("cpu")
CASES = {"gfnet-192x12": (128, 64), "efficientnet-lite0": (224, 32)}  # input px, batch
WAYS = {
    "gfnet-192x12": {"plain": None, "ours": 0},
    "efficientnet-lite0": {"plain": None, "ours": 0, "ours, two blocks frozen": 2},
}
STEPS, FIRST_STEPS = 8, 2

Step = Callable[[Batch, int], object]


def plain_step(model: str, classes: int, size: int) -> Step:
    """The plain loop's step."""
    net: nn.Module
    if model == "gfnet-192x12":
        setattr(gfnet, "LARGEST_SIDE", 0)  # noqa: B010 # no grid is small enough for matrix products
        backbone = find_backbone(model)
        image = make_input(backbone, size, pad=False)
        whole = build_net(NetSpec(backbone, (), image, tuple(map(str, range(classes)))), TrainSettings().drop_path)

        def logits(images: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = whole(images).logits
            return outputs[:, -1]

        net = whole
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a package of 2020
            from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 # for this network alone

            net = logits = EfficientNet.from_name(model, num_classes=classes)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step(batch: Batch, index: int) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(logits(batch.images), batch.labels, label_smoothing=0.1))
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def our_step(data: SceneData, model: str, settings: TrainSettings) -> Step:
    """The step of the backbone stage."""
    keep_freed_memory()
    spec = NetSpec(find_backbone(model), (), data.input, data.split.classes)
    net = initial_net(spec, data, settings.seed, settings.drop_path, Start()).net
    context = StageContext(make_fabric("cpu", "auto"), net, settings, 1, lambda: NotImplemented)
    return BackboneStage(context, STEPS + FIRST_STEPS).step


def rate(model: str, way: str) -> float:
    """Images per second of one way, in this process."""
    size, batch = CASES[model]
    os.chdir(ROOT)
    source = locate(DataOptions(data_set="SyntheticScenes"), ignore_progress)
    image = make_input(find_backbone(model), size, pad=False)
    data = prepare(source, image, SplitSettings(), None, ignore_progress)
    frozen = WAYS[model][way]
    settings = TrainSettings(batch=batch, freeze_blocks=frozen or 0, device="cpu")
    torch.manual_seed(0)
    step = plain_step(model, len(data.split.classes), size) if frozen is None else our_step(data, model, settings)
    loader = data.training_loader(settings.augmentation)

    def batches() -> Iterator[Batch]:
        return loader.batches(range((STEPS + FIRST_STEPS) * batch), batch, CPU)

    for _ in batches():  # decoded once, and kept
        pass
    took = []
    began = time.perf_counter()
    for index, each in enumerate(batches()):
        step(each, index)
        before, began = began, time.perf_counter()
        took.append(began - before)
    return batch / statistics.median(took[FIRST_STEPS:])


def main() -> None:
    """Measure all ways in turns and store the figures."""
    if len(sys.argv) == 3:
        sys.stdout.write(f"{rate(*sys.argv[1:])}\n")
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rates: dict[str, dict[str, list[float]]] = {model: {way: [] for way in ways} for model, ways in WAYS.items()}
    for turn in range(rounds):
        for model, ways in rates.items():
            for way, values in ways.items():
                done = subprocess.run(
                    [sys.executable, __file__, model, way], check=True, capture_output=True, text=True
                )
                values.append(float(done.stdout.split()[-1]))
                sys.stderr.write(f"round {turn + 1}/{rounds}  {model}, {way}: {values[-1]:.1f} images/s\n")
    figures = {
        "command": f"python experiments/training_rate.py {rounds}",
        "processor": f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "unit": "images/s in training steps, augmentation included; median of the rounds; measured",
        "models": {
            model: {
                "input_px": CASES[model][0],
                "batch": CASES[model][1],
                "images_per_s": {way: round(statistics.median(values), 1) for way, values in ways.items()},
                "times_plain": {
                    way: round(statistics.median(x / p for x, p in zip(values, ways["plain"], strict=True)), 2)
                    for way, values in ways.items()
                },
            }
            for model, ways in rates.items()
        },
    }
    write_figures(figures, "training_rate")


if __name__ == "__main__":
    main()
