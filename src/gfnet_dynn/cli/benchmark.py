"""`gfnet-dynn benchmark`: what leaving at each exit really takes, beside its share of the MACs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gfnet_dynn.cli.extras import require_torch
from gfnet_dynn.cli.options import path


def benchmark(
    model: Annotated[
        str, typer.Argument(help="A named model (fresh weights), a .safetensors, or the folder of a run.")
    ],
    input_size: Annotated[int | None, typer.Option(help="Side of the input in pixels. (default: 256)")] = None,
    pad: Annotated[bool, typer.Option("--pad", help="Pad the input to whole patches.")] = False,
    images: Annotated[int, typer.Option(help="Different images to time.", min=1)] = 4,
    repeats: Annotated[int, typer.Option(help="Rounds; the median over them counts.", min=1)] = 25,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of fresh weights and images.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Store the figures here.", parser=path)] = None,
) -> None:
    """Measure the latency of each exit at batch 1 in torch, and check its output against the plain forward pass."""
    require_torch("benchmarking")
    from gfnet_dynn.cli.benchmarking import Wanted, run_benchmark  # noqa: PLC0415 # imports torch

    run_benchmark(Wanted(model, input_size, pad, images, repeats, threads, seed), json, Console())
