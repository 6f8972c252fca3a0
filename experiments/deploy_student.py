"""Compare the published student at 256 px in each engine and precision with torch, on this machine.

    python experiments/deploy_student.py IMAGES [THREADS]

The weights are fresh: latency depends on them only by the exits taken, so every exit is timed, and the policy is that
of the full network. IMAGES is a folder of images, which also calibrate int8.
Writes docs/results/deploy_student.json, in a few minutes on an idle machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from figures import write_figures

from gfnet_dynn.benchmark.request import BenchmarkRequest
from gfnet_dynn.bundle.archive import write_bundle
from gfnet_dynn.export.bundle import LabelledImages, TrainingImages, export_net
from gfnet_dynn.images.files import require_images
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.model.checkpoint import save_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.spec.backbone import find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.workflows.benchmarking import benchmark

CLASSES, CALIBRATION = 21, 32


def main() -> None:
    """Build, export, measure."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    backbone = find_backbone("gfnet-192x12")
    names = tuple(f"class {index + 1}" for index in range(CLASSES))
    spec = NetSpec(backbone, backbone.default_exits, make_input(backbone, 256, pad=False), names)
    torch.manual_seed(0)
    net = build_net(spec).eval()
    files = require_images(folder).images
    some = np.stack([load_input(file, spec.input) for file in files[:: max(1, len(files) // CALIBRATION)]])
    images = LabelledImages(some, np.zeros(len(some), np.int64), "given")
    exported = export_net(net, spec, {}, images, TrainingImages(some), print)
    place = Path("runs") / "deploy_student"
    run = save_checkpoint(place / "student.safetensors", net, spec, {})
    bundle = write_bundle(place / "student.gfd", exported.manifest, exported.files)
    request = BenchmarkRequest(
        subject=str(bundle),
        images=(folder,),
        torch=run,
        energy_seconds=0,
        num_images=16,
        repeats=9,
        threads=threads,
    )
    write_figures(benchmark(request).to_dict(), "deploy_student")


if __name__ == "__main__":
    main()
