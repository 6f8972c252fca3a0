"""`gfnet-dynn monitor`: do images still come as those that a guarantee was made on?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gfnet_dynn.cli.options import MaxPixels, Stretch, path
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.images.decode import MAX_PIXELS, DecodeOptions


def monitor(
    bundle: Annotated[Path, typer.Argument(help="A bundle with a calibrated policy.", parser=path)],
    seen: Annotated[
        list[Path],
        typer.Argument(
            help="Images and folders of them, without labels; or logs that `gfnet-dynn classify --format json` wrote.",
            parser=path,
        ),
    ],
    policy: Annotated[str | None, typer.Option(help="Of the bundle. (default: its first)")] = None,
    level: Annotated[
        float, typer.Option(help="Per cent: how often to be alarmed where nothing has changed.", min=0.0, max=100.0)
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a sentence.")] = False,
    engine: Annotated[Literal["onnxruntime", "openvino"], typer.Option(help="What runs the network.")] = "onnxruntime",
    precision: Annotated[
        Literal["auto", "fp32", "int8"], typer.Option(help="As for `classify`; auto keeps to that of the logs.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Processor threads. (default: at most four)", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the permutations.", min=0)] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    stretch: Stretch = None,
) -> None:
    """Compare exits and confidences with those at calibration, and say whether the guarantee's premise still holds.

    The exit status is 1 where it does not; else 2 where some images could not be read, which are named and left out;
    else 0.
    """
    from gfnet_dynn.workflows.monitoring import Wanted, run_monitor  # noqa: PLC0415 # imports the engine

    decode = DecodeOptions(max_pixels, stretch)
    wanted = Wanted(bundle, tuple(seen), policy, level / 100, as_json, engine, precision, threads, seed, decode)
    if status := run_monitor(wanted, Terminal(), sys.stderr):
        raise typer.Exit(status)
