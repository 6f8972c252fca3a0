"""Images of training among those that a bundle is evaluated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.evaluation.labelled_folder import seen_in_training
from gfnet_dynn.images.fingerprint import fingerprint_files
from gfnet_dynn.images.options import DecodeOptions
from gfnet_dynn.progress import ignore_steps
from gfnet_dynn.spec.network import InputSpec
from tests import bundles
from tests.fingerprints import write_scene

ELEVEN_BIT = (0.0, 2047.0)


def test_training_images_of_11_bit_are_recognised_by_the_stretch_of_the_network(tmp_path: Path) -> None:
    files = []
    for seed in range(2):
        grey = np.asarray(Image.open(write_scene(tmp_path / f"{seed}.png", seed)).convert("L"))
        files.append(tmp_path / f"{seed}.tiff")
        Image.fromarray(np.rint(grey * (2047 / 255)).astype(np.uint16)).save(files[-1])
    known, _ = fingerprint_files(files[:1], decode=DecodeOptions(stretch=ELEVEN_BIT))
    content = {**bundles.files(), LEARNED_FROM: known[files[0]]}
    image = InputSpec(bundles.SIDE, stretch=ELEVEN_BIT)
    bundle = read_bundle(bundles.write_tiny(tmp_path / "wide.gfd", content, input=image))
    warning = seen_in_training(bundle, tuple(files), ignore_steps)
    assert warning is not None
    assert "1 of these 2 images" in warning
    assert seen_in_training(bundle, tuple(files[1:]), ignore_steps) is None
