"""`gfnet-dynn export`: a trained network as one file for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfnet_dynn.cli.options import path
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.workflows.extras import require_export


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or its .safetensors.", parser=path)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The bundle to write, such as scene.gfd.", parser=path)
    ],
    data_path: Annotated[
        Path | None, typer.Option(help="Folder of the data set. (default: the data set's own)", parser=path)
    ] = None,
    dataset_config: Annotated[
        Path | None, typer.Option(help="TOML file that describes the data set.", parser=path)
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Add stages in int8, where they keep the accuracy.")
    ] = True,
    calibration_images: Annotated[
        int, typer.Option(help="Training images from which int8 takes its ranges.", min=1)
    ] = 128,
    single_graph: Annotated[
        Path | None,
        typer.Option(help="Also write one ONNX file with nested If, which any ONNX runtime runs unaided.", parser=path),
    ] = None,
) -> None:
    """Write a trained network as one file that classifies without torch.

    Every exit's answers are held against torch's on the selection split; other answers are refused.
    """
    require_export()
    from gfnet_dynn.workflows.exporting import Wanted, run_export  # noqa: PLC0415 # imports torch

    wanted = Wanted(run, output, data_path, dataset_config, calibration_images if int8 else 0, single_graph)
    run_export(wanted, Terminal())
