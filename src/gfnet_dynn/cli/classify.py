"""`gfnet-dynn classify`: the classes of images, on the device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gfnet_dynn.cli.options import MaxPixels, Stretch, path
from gfnet_dynn.images.decode import MAX_PIXELS, DecodeOptions


def classify(
    bundle: Annotated[Path, typer.Argument(help="What `gfnet-dynn export` wrote.", parser=path)],
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders of them.", parser=path)],
    policy: Annotated[str | None, typer.Option(help="Exit policy of the bundle. (default: its first)")] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Other thresholds for that policy: one number, or one for each exit: 0.7,0.8.")
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to give for each image, the most probable first.", min=1)] = 1,
    form: Annotated[
        Literal["text", "json", "csv"], typer.Option("--format", help="text, json (a line for each image) or csv.")
    ] = "text",
    engine: Annotated[
        Literal["onnxruntime", "openvino"], typer.Option(help="What runs the network; openvino is an extra.")
    ] = "onnxruntime",
    precision: Annotated[
        Literal["auto", "fp32", "int8"],
        typer.Option(help="auto takes the faster one here, timed once and remembered."),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Processor threads. (default: at most four)", min=1)] = None,
    batch: Annotated[int, typer.Option(help="Images at once.", min=1)] = 1,
    max_pixels: MaxPixels = MAX_PIXELS,
    stretch: Stretch = None,
) -> None:
    """Classify images with an exported network; no torch, no network connection.

    A file that cannot be read is named and left out; the exit status is then 2.
    """
    from gfnet_dynn.workflows.classification import Wanted, run_classification  # noqa: PLC0415 # imports the engine

    decode = DecodeOptions(max_pixels, stretch)
    wanted = Wanted(bundle, tuple(images), policy, threshold, top, form, engine, precision, threads, batch, decode)
    if run_classification(wanted, sys.stdout, sys.stderr):
        raise typer.Exit(2)
