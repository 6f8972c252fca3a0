"""`gfnet-dynn calibrate`: exit policies that can be guaranteed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gfnet_dynn.cli.options import MaxPixels, Stretch, path
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.images.decode import MAX_PIXELS, DecodeOptions


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="What `gfnet-dynn export` wrote.", parser=path)],
    images: Annotated[
        Path,
        typer.Argument(
            help="Folder with a folder of images for each class, none of them trained or selected on; or outputs that "
            "--outputs kept.",
            parser=path,
        ),
    ],
    risk: Annotated[
        Literal["drop", "harm", "error", "disagreement", "brier"] | None,
        typer.Option(
            help="What to limit: drop of accuracy against the full network; harm, images that it has right and the "
            "exit wrong; error; disagreement with it; brier."
        ),
    ] = None,
    at_most: Annotated[
        float | None, typer.Option(help="Limit of the risk, in points (hundredths). (default: 1)", min=0.0)
    ] = None,
    certainty: Annotated[float | None, typer.Option(help="Per cent. (default: 95)", min=0.0, max=100.0)] = None,
    method: Annotated[
        Literal["exact", "betting", "hoeffding-bentkus", "conformal", "naive"] | None,
        typer.Option(
            help="exact, betting, hoeffding-bentkus: certain; conformal: on average; naive: no guarantee. (default: "
            "exact where images are counted, else betting)"
        ),
    ] = None,
    max_ms: Annotated[float | None, typer.Option(help="Largest mean time of a frame; needs --benchmark.")] = None,
    p99_ms: Annotated[float | None, typer.Option(help="Largest 99th percentile of it; needs --benchmark.")] = None,
    max_mj: Annotated[float | None, typer.Option(help="Largest mean energy of a frame; needs --benchmark.")] = None,
    max_mmacs: Annotated[float | None, typer.Option(help="Largest mean number of millions of MACs.")] = None,
    benchmark: Annotated[
        Path | None, typer.Option(help="What `gfnet-dynn benchmark BUNDLE … --json` wrote on the device.", parser=path)
    ] = None,
    score: Annotated[
        Literal["gate", "max_softmax", "margin", "entropy", "patience", "neighbours"],
        typer.Option(help="By what images leave."),
    ] = "gate",
    per_exit: Annotated[
        bool,
        typer.Option(
            "--per-exit", help="A threshold for each exit; for a risk, where that costs less than one for all."
        ),
    ] = False,
    sets: Annotated[
        float | None, typer.Option(help="Per cent: give sets of classes that hold the true one so often.")
    ] = None,
    unknown: Annotated[
        float | None, typer.Option(help="Per cent: call images unknown, of those like these at most so many.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the policy; an older one of that name is replaced.")] = "calibrated",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Bundle to write. (default: the bundle itself)", parser=path)
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write all figures there as JSON.", parser=path)] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw there how far exits can be trusted, .png, .svg or .pdf (extra plots).", parser=path),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(help="Keep what all exits say there, .npz, for further policies.", parser=path)
    ] = None,
    engine: Annotated[Literal["onnxruntime", "openvino"], typer.Option(help="What runs the network.")] = "onnxruntime",
    threads: Annotated[int | None, typer.Option(help="Processor threads. (default: at most four)", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the division of the images.")] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    stretch: Stretch = None,
) -> None:
    """Find the cheapest exit policy that keeps a risk, a budget or both, and store it in the bundle with its guarantee.

    The policy becomes the bundle's first, which `classify` uses unless told else. No torch, no network connection.
    """
    from gfnet_dynn.workflows.calibration import Wanted, run_calibration  # noqa: PLC0415 # imports the engine

    wanted = Wanted(
        bundle=bundle,
        images=images,
        risk=risk,
        at_most=at_most,
        certainty=certainty,
        method=method,
        max_ms=max_ms,
        p99_ms=p99_ms,
        max_mj=max_mj,
        max_mmacs=max_mmacs,
        benchmark=benchmark,
        score=score,
        per_exit=per_exit,
        sets=sets,
        unknown=unknown,
        name=name,
        output=output,
        report=report,
        plot=plot,
        outputs=outputs,
        engine=engine,
        threads=threads,
        seed=seed,
        decode=DecodeOptions(max_pixels, stretch),
    )
    run_calibration(wanted, Terminal())
