"""--max-pixels and --stretch mean the same in every command that reads images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.benchmark.measurement import ColdStart
from gfnet_dynn.cli.app import Program
from gfnet_dynn.images.files import find_images
from tests import bundles
from tests.cli.conftest import Run
from tests.image_bytes import tiff_bytes

FEW = ("--threads", "1", "--engine", "onnxruntime")
COMMANDS = {
    "classify": ("classify", "scene.gfd", "scenes", "--format", "json", "--precision", "fp32", *FEW),
    "monitor": ("monitor", "scene.gfd", "scenes", "--precision", "fp32", "--json", *FEW),
    "calibrate": ("calibrate", "scene.gfd", "scenes", "--max-mmacs", "0.0003", "--output", "new.gfd", *FEW),
    "benchmark": ("benchmark", "scene.gfd", "scenes", "--images", "2", "--repeats", "1", "--energy-seconds", "0", *FEW),
    "check": ("data", "check", "mine", "--data-path", ".", "--dataset-config", "sets.toml"),
}


def start_in_place(bundle: Path, image: Path, engine: str, precision: str, options: list[str]) -> ColdStart:
    """What a fresh process would be given is understood, and reads the image."""
    arguments = ["classify", str(bundle), str(image), "--engine", engine, "--precision", precision, *options]
    Program().main(arguments, standalone_mode=False)
    return ColdStart(1.0, None, 1, precision, engine)


@pytest.fixture
def scenes(run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """11-bit images of three classes, and the same as 8 bit in another folder."""
    del run  # which makes an empty folder
    monkeypatch.setattr("gfnet_dynn.workflows.benchmarking.measure_cold_start", start_in_place)
    for number, image in enumerate(bundles.images(45)):
        name = bundles.CLASSES[number % 3]
        for folder in ("scenes", "eight"):
            Path(folder, name).mkdir(parents=True, exist_ok=True)
        wide = np.rint(image * (2047 / 255)).astype(np.uint16)
        Path("scenes", name, f"{number:02}.tif").write_bytes(tiff_bytes(wide))
        Image.fromarray(image).save(Path("eight", name, f"{number:02}.tif"))
    bundles.write_tiny(Path("scene.gfd"), policies=(bundles.CALIBRATED, *bundles.POLICIES))
    Path("sets.toml").write_text(
        '[mine]\nnum_classes = 3\ndefault_input_size = 8\ntrain_folder = "scenes"\nuse_random_split = true\n',
        encoding="utf-8",
    )
    return Path("scenes")


@pytest.mark.usefixtures("scenes")
@pytest.mark.parametrize("name", COMMANDS)
def test_narrow_samples_are_refused_without_stretch(run: Run, name: str) -> None:
    refused = run("gfnet-dynn", *COMMANDS[name])
    assert refused.status == 2
    assert "--stretch" in refused.err + refused.out
    small = run("gfnet-dynn", *COMMANDS[name], "--stretch", "0,2047", "--max-pixels", "63")
    assert small.status == 2
    assert "--max-pixels" in small.err + small.out


@pytest.mark.parametrize("name", COMMANDS)
def test_stretched_samples_are_as_their_8_bit(run: Run, scenes: Path, name: str) -> None:
    stretched = run("gfnet-dynn", *COMMANDS[name], "--stretch", "0,2047")
    assert "--stretch" not in stretched.err
    shutil.rmtree(scenes)
    Path("eight").rename(scenes)
    assert len(find_images(scenes).images) == 45
    as_8_bit = run("gfnet-dynn", *COMMANDS[name])
    assert stretched.status == as_8_bit.status
    if name != "benchmark":  # whose milliseconds differ
        assert stretched.out == as_8_bit.out
