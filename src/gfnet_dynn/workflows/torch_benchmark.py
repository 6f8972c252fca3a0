"""What `gfnet-dynn benchmark` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gfnet_dynn.benchmark.torch_latency import LatencySetting, exit_call, forced_exit, latency_setting, measure_calls
from gfnet_dynn.cli.render.progress import ProgressBars
from gfnet_dynn.model.build import build_net
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.spec.backbone import BACKBONES, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.storage import write_json
from gfnet_dynn.train.runs.start import find_checkpoint_file
from gfnet_dynn.wording import counted
from gfnet_dynn.workflows.training import set_threads

_DEFAULT_SIZE = 256
_CLASSES = 45


@dataclass(frozen=True)
class ExitFigures:
    """One exit.

    Attributes:
        name: `exit 1` …, `final`.
        macs_share: multiply-accumulates up to it over those of the full network; counted.
        latency_ms: median over the images of their median over the rounds; measured.
        latency_share: median over the images of their ratio to the full pass; measured.
        largest_difference: of its logits to those of the plain forward pass.
    """

    name: str
    macs_share: float
    latency_ms: float
    latency_share: float
    largest_difference: float


@dataclass(frozen=True)
class Wanted:
    """What to measure, as the options of `gfnet-dynn benchmark` say it."""

    model: str
    input_size: int | None
    pad: bool
    images: int
    repeats: int
    threads: int
    seed: int


def run_benchmark(wanted: Wanted, json: Path | None, console: Console) -> list[ExitFigures]:
    """Measure, print, and store where asked."""
    set_threads(wanted.threads)
    torch.manual_seed(wanted.seed)
    net, size = _network(wanted.model, wanted.input_size, wanted.pad)
    batch = torch.randn(wanted.images, 3, size, size)
    figures, setting = measure_network(net, batch, wanted.repeats, console)
    _print(wanted.model, size, figures, setting, console)
    if json:
        write_json(json, _to_dict(wanted.model, size, wanted.seed, figures, setting))
    return figures


def _network(model: str, input_size: int | None, pad: bool) -> tuple[EarlyExitNet, int]:
    if model.casefold() in BACKBONES or not Path(model).exists():
        backbone = find_backbone(model)
        image = make_input(backbone, _DEFAULT_SIZE if input_size is None else input_size, pad=pad)
        classes = tuple(str(index) for index in range(_CLASSES))
        spec = NetSpec(backbone, backbone.default_exits, image, classes, backbone.exit_pooling)
        return build_net(spec).eval(), image.size
    checkpoint = load_checkpoint(find_checkpoint_file(Path(model)))
    image = checkpoint.spec.input
    if input_size is not None:
        image = make_input(checkpoint.spec.backbone, input_size, pad=pad)
    return replace(checkpoint, spec=structs.replace(checkpoint.spec, input=image)).build(), image.size


def measure_network(
    net: EarlyExitNet, images: Tensor, repeats: int, console: Console
) -> tuple[list[ExitFigures], LatencySetting]:
    """Latency, share of the full pass, and difference to the plain forward pass, of every exit."""
    num_exits = len(net.gates) + 1
    told = partial(ProgressBars(console), "Measuring")
    calls = [exit_call(net, index) for index in range(num_exits)]
    times = measure_calls(calls, images, repeats, lambda done: told(done, repeats))
    shares = times / times[:, -1:]
    names = [f"exit {index + 1}" for index in range(num_exits - 1)] + ["final"]
    figures = [
        ExitFigures(
            name=name,
            macs_share=net.exit_costs()[index],
            latency_ms=float(np.median(times[:, index])),
            latency_share=float(np.median(shares[:, index])),
            largest_difference=_difference(net, images, index),
        )
        for index, name in enumerate(names)
    ]
    return figures, latency_setting(images, repeats)


def _difference(net: EarlyExitNet, images: Tensor, exit_index: int) -> float:
    with torch.inference_mode():
        plain = net(images).logits[:, exit_index]
    stopped = net.decide(images, forced_exit(exit_index, len(net.gates))).logits
    return float((plain - stopped).abs().max())


def _print(model: str, size: int, figures: list[ExitFigures], setting: LatencySetting, console: Console) -> None:
    table = Table(title=f"{model}, {size} px, batch 1, {counted(setting.threads, 'thread')}")
    for heading in ("leaves at", "share of MACs", "share of time", "ms", "largest difference to plain forward"):
        table.add_column(heading, justify="right")
    for each in figures:
        table.add_row(
            each.name,
            f"{each.macs_share:.3f}",
            f"{each.latency_share:.3f}",
            f"{each.latency_ms:.2f}",
            f"{each.largest_difference:.1e}",
        )
    console.print(table)
    console.print(
        f"MACs are counted from shapes. Time is measured: medians over {counted(setting.images, 'image')} and "
        f"{counted(setting.repeats, 'round')}, exits in turns, {setting.engine}, {setting.device}; {setting.scope}.",
        highlight=False,
    )


def _to_dict(model: str, size: int, seed: int, figures: list[ExitFigures], setting: LatencySetting) -> dict[str, Any]:
    return {
        "command": f"gfnet-dynn benchmark {model} --input-size {size} --images {setting.images} --repeats "
        f"{setting.repeats} --threads {setting.threads} --seed {seed}",
        "source": "macs_share: counted from shapes; the rest: measured",
        "setting": asdict(setting),
        "exits": [asdict(each) for each in figures],
    }
