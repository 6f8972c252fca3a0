"""`gfnet-dynn benchmark`: what a network really takes on this machine, at each exit and in the mix of some images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfnet_dynn.bundle.archive import SUFFIX
from gfnet_dynn.cli.options import MaxPixels, Stretch, path
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.errors import SpecError
from gfnet_dynn.images.decode import MAX_PIXELS, DecodeOptions
from gfnet_dynn.workflows.extras import require_torch

_ROUNDS_OF_BUNDLE, _ROUNDS_OF_NETWORK = 5, 25
_IMAGES_OF_BUNDLE, _IMAGES_OF_NETWORK = 48, 4


def benchmark(
    subject: Annotated[
        str,
        typer.Argument(help="A bundle (.gfd); or, in torch, a named model, a .safetensors, or the folder of a run."),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="For a bundle: image files, and folders of them.", parser=path)
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another bundle, measured in turns with it; or efficientnet-lite0, -lite1, -lite2 with their ImageNet "
            "weights and no trained classifier (extras export and teachers); repeatable."
        ),
    ] = None,
    eager: Annotated[
        Path | None, typer.Option(help="A run to measure in torch beside the bundle, as published too.", parser=path)
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="onnxruntime, openvino; repeatable. (default: all installed)")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Exit policy of the bundle. (default: its first)")] = None,
    energy_seconds: Annotated[
        float, typer.Option(help="Seconds to measure the energy of each network; 0 leaves it out.", min=0)
    ] = 5.0,
    meter_csv: Annotated[
        Path | None, typer.Option(help="Log of an external power meter: time_s (Unix), power_w.", parser=path)
    ] = None,
    estimate_power_w: Annotated[
        float | None, typer.Option(help="Estimate energy from this power; marked as an estimate.", min=0)
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Different images to time. (default: 48; in torch 4)", min=1)
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Rounds. (default: 5; in torch 25)", min=1)] = None,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 1,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots here.", parser=path)] = None,
    json: Annotated[Path | None, typer.Option(help="Store the figures here.", parser=path)] = None,
    input_size: Annotated[
        int | None, typer.Option(help="In torch: side of the input in pixels. (default: 256)")
    ] = None,
    pad: Annotated[bool, typer.Option("--pad", help="In torch: pad the input to whole patches.")] = False,
    seed: Annotated[int, typer.Option(help="In torch: of fresh weights and images.")] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    stretch: Stretch = None,
) -> None:
    """Measure latency, memory and energy of a bundle on this device; of a network in torch, the latency of each exit.

    For images in folders that are named as classes, accuracy stands beside latency.
    """
    if subject.endswith(SUFFIX):
        from gfnet_dynn.workflows.benchmarking import Wanted as OnDevice  # noqa: PLC0415 # imports engines
        from gfnet_dynn.workflows.benchmarking import run_device_benchmark  # noqa: PLC0415

        if input_size is not None or pad or seed:
            raise SpecError(
                "--input-size, --pad and --seed are for networks in torch: a bundle says itself what it takes"
            )
        if not pictures:
            raise SpecError("which images? Name files or folders after the bundle: what leaves where depends on them")
        run_device_benchmark(
            OnDevice(
                bundle=Path(subject),
                pictures=tuple(pictures),
                against=tuple(against or ()),
                eager=eager,
                engines=tuple(engine or ()),
                policy=policy,
                energy_seconds=energy_seconds,
                meter_csv=meter_csv,
                estimate_power_w=estimate_power_w,
                images=images or _IMAGES_OF_BUNDLE,
                rounds=repeats or _ROUNDS_OF_BUNDLE,
                threads=threads,
                html=html,
                json=json,
                decode=DecodeOptions(max_pixels, stretch),
            ),
            Terminal(),
        )
        return
    ignored = {"--against": against, "--eager": eager, "--engine": engine, "--policy": policy, "--html": html}
    if given := [name for name, value in ignored.items() if value]:
        raise SpecError(f"{', '.join(given)}: for a bundle ({SUFFIX}) only, and {subject} is none")
    if pictures:
        raise SpecError(
            f"{subject} is no bundle ({SUFFIX}): images are measured with a bundle, see `gfnet-dynn export`"
        )
    require_torch("benchmarking")
    from gfnet_dynn.workflows.torch_benchmark import Wanted, run_benchmark  # noqa: PLC0415 # imports torch

    wanted = Wanted(
        subject, input_size, pad, images or _IMAGES_OF_NETWORK, repeats or _ROUNDS_OF_NETWORK, threads, seed
    )
    run_benchmark(wanted, json, Terminal())
