"""Check that images take the same exits in torch, onnxruntime and openvino.

    python experiments/engine_agreement.py RUN BUNDLE FOLDER

RUN is the trained network, BUNDLE its export, FOLDER images in folders of classes. Each policy of the bundle is applied
to each image in each engine, in fp32. Where the exits differ from those in torch, the image counts as a tie if its
score in torch lies within 1e-5 of the threshold. Writes docs/results/engine_agreement_NAME.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import write_figures

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.exits import ExitArrays, first_exit
from gfnet_dynn.export.parity import network_arrays, segment_arrays
from gfnet_dynn.images.files import require_images
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.segments import SegmentedNet

TIE = 1e-5


def main() -> None:
    """Run each engine and compare."""
    run, path, folder = (Path(argument) for argument in sys.argv[1:4])
    checkpoint, bundle = load_checkpoint(find_checkpoint_file(run)), read_bundle(path)
    manifest = bundle.manifest
    files = require_images(folder).images
    labels = np.array([manifest.classes.index(file.parent.name) for file in files])
    images = np.stack([load_input(file, manifest.input) for file in files])
    torch_arrays = network_arrays(checkpoint.build(), images, labels, manifest.input)
    found = {}
    for name in ("onnxruntime", "openvino"):
        engine = make_engine(name, EngineOptions(threads=1))
        net = SegmentedNet(manifest, bundle.segments("fp32"), "fp32", engine)
        found[engine.name] = compare(torch_arrays, segment_arrays(net, images, labels), manifest.policies)
    described = {
        "command": f"python experiments/engine_agreement.py RUN {path.name} FOLDER",
        "what": f"{manifest.model}, {manifest.input.size} px, fp32: exits of {len(files)} images compared with torch",
        "tie": f"the score lies within {TIE:g} of the threshold",
        "engines": found,
    }
    write_figures(described, f"engine_agreement_{path.stem}")


def compare(torch_arrays: ExitArrays, others: ExitArrays, policies: tuple[Any, ...]) -> dict[str, Any]:
    """Differences of outputs and, for each policy, of exits."""
    return {
        "largest_logit_difference": float(np.abs(torch_arrays.logits - others.logits).max()),
        "largest_gate_difference": float(np.abs(torch_arrays.gates - others.gates).max(initial=0)),
        "other_class": int((torch_arrays.predictions != others.predictions).sum()),
        "policies": {
            policy.name: decisions(policy.scores(torch_arrays).gates, policy.scores(others).gates, policy.thresholds)
            for policy in policies
        },
    }


def decisions(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32], thresholds: tuple[float, ...]
) -> dict[str, int]:
    """Number of images that take another exit, and of ties among them."""
    exits = np.stack((first_exit(ours, thresholds), first_exit(theirs, thresholds)))
    rows = np.flatnonzero(exits[0] != exits[1])
    parting = exits[:, rows].min(axis=0)  # the first exit at which the decisions differ
    ties = np.abs(ours[rows, parting] - np.array(thresholds)[parting]) < TIE
    return {"images": len(ours), "leave_elsewhere": len(rows), "of_these_ties": int(ties.sum())}


if __name__ == "__main__":
    main()
