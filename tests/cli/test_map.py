"""`gfnet-dynn map`."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
from affine import Affine  # noqa: E402 # of the same extra

from tests import bundles  # noqa: E402
from tests.cli.conftest import Run  # noqa: E402
from tests.geo.scenes import CRS, PLACE, pixels, read_map, write_scene  # noqa: E402

QUICK = ("--precision", "fp32", "--threads", "1")
OUTPUTS = {"map.tif", "map_confidence.tif", "map_exit.tif", "map.tif.aux.xml", "map.qml"}
WIDE = np.concatenate([pixels(seed=seed).astype(np.uint16) * 10 for seed in range(5)])[:13]


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundles.write_tiny(Path("tiny.gfd"))


def test_a_scene_becomes_maps_and_tables(run: Run) -> None:
    write_scene(Path("scene.tif"))
    outcome = run("gfnet-dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif", *QUICK)
    assert outcome.status == 0, outcome.err
    for fact in (
        "Area of each class in scene.tif",
        "river",
        "km²",
        "23 × 18 cells",
        "written: map.tif",
        "map_exit.tif",
    ):
        assert fact in outcome.out
    assert all(Path(name).is_file() for name in OUTPUTS)


def test_the_model_follows_from_the_scene(run: Run) -> None:
    write_scene(Path("scene.tif"), pixels(200, 200))
    outcome = run("gfnet-dynn", "map", "scene.tif", "-o", "map.tif", "--threads", "1")
    assert outcome.status == 0, outcome.err
    assert "note: model sentinel2: 10 m per pixel by" in outcome.err
    assert "chips of 640 m" in outcome.out
    again = run("gfnet-dynn", "map", "scene.tif", "--gsd", "0.3", "-o", "map.tif", "--threads", "1")
    assert "note: model aerial: 0.3 m per pixel by --gsd" in again.err


def test_bands_by_description_and_a_scale(run: Run) -> None:
    write_scene(Path("scene.tif"), WIDE, descriptions=[f"B{number:02}" for number in range(1, 14)])
    line = ("gfnet-dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif", *QUICK)
    outcome = run(*line, "--bands", "B04,B03,B02", "--scale", "0,2550")
    assert outcome.status == 0, outcome.err
    assert "0 to 2550 become 0 to 255" in outcome.out
    named = read_map(Path("map.tif"))
    assert run(*line, "--bands", "4,3,2", "--scale", "0,2550").status == 0
    assert (read_map(Path("map.tif")) == named).all()
    assert run(*line, "--bands", "4,3,2", "--scale", "2%,98%").status == 0


BAD_SCENES: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "no CRS": ({"crs": None}, (), ("scene.tif has no coordinate reference system", "rio edit-info")),
    "no place": ({"transform": Affine.identity()}, (), ("scene.tif does not say where its pixels lie",)),
    "one band": ({"values": pixels()[:1]}, (), ("scene.tif has one band", "--bands 1,1,1")),
    "13 bands": ({"values": WIDE}, (), ("scene.tif has 13 bands", "--bands")),
    "no such band": ({}, ("--bands", "4,3,2"), ("--bands", "'4'", "1 to 3")),
    "two bands": ({}, ("--bands", "4,3"), ("--bands", "three", "4,3")),
    "16 bit": ({"values": WIDE[:3]}, (), ("scene.tif has uint16 samples", "--scale LOW,HIGH")),
    "a scale backwards": ({}, ("--scale", "9,3"), ("--scale", "LOW < HIGH", "9,3")),
    "a scale of words": ({}, ("--scale", "low"), ("--scale", "'low'")),
    "NaN everywhere": (
        {"values": np.full((3, 70, 90), np.nan, np.float32)},
        ("--scale", "0,1"),
        ("no valid pixels",),
    ),
    "percentiles of nothing": (
        {"values": np.full((3, 70, 90), np.nan, np.float32)},
        ("--scale", "2%,98%"),
        ("no valid sample",),
    ),
    "smaller than a chip": (
        {"values": pixels(7, 90)},
        (),
        ("scene.tif", "7 pixels along a side", "gfnet-dynn classify"),
    ),
    "coarser than the model": ({}, ("--chip", "10"), ("only 1 pixel of 10 m",)),
    "a stride without a pixel": ({}, ("--stride", "1"), ("--stride", "1 m")),
    "uneven pixels": (
        {"crs": "EPSG:4326", "transform": Affine.translation(0, 80) @ Affine.scale(0.2, -0.2)},
        (),
        ("scene.tif", "differ in size", "rio warp"),
    ),
    "little memory": ({}, ("--max-memory", "10M"), ("--max-memory is too low", "give at least")),
    "no memory": ({}, ("--max-memory", "much"), ("--max-memory", "256M")),
    "a distance that is none": ({}, ("--gsd", "0"), ("--gsd", "positive")),
    "another policy": ({}, ("--policy", "none"), ("no exit policy 'none'",)),
    "a map of another kind": ({}, ("-o", "map.png"), ("--output map.png", ".tif")),
    "a picture of another kind": ({}, ("--png", "map.jpg"), ("--png map.jpg", ".png")),
    "the scene as output": ({}, ("-o", "scene.tif"), ("scene.tif is the scene itself",)),
}


@pytest.mark.parametrize("case", BAD_SCENES)
def test_what_cannot_be_mapped_is_named_and_leaves_nothing(run: Run, case: str) -> None:
    profile, options, facts = BAD_SCENES[case]
    write_scene(Path("scene.tif"), profile.get("values"), **{k: v for k, v in profile.items() if k != "values"})
    outcome = run("gfnet-dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif", *QUICK, *options)
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert all(fact in outcome.err for fact in facts), outcome.err
    assert {path.name for path in Path().iterdir()} <= {"scene.tif", "tiny.gfd", "cache"}


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("missing.tif",), ("no scene at missing.tif",)),
        (("empty.tif",), ("cannot open the scene empty.tif",)),
        (("half.tif",), ("half.tif",)),
        (("https://example.org/scene.tif",), ("is a URL", "download")),
        (("s3://bucket/scene.tif",), ("is a URL",)),
        ((), ("nothing to map", "tiny.gfd")),
    ],
)
def test_what_is_no_scene_is_named(run: Run, words: tuple[str, ...], facts: tuple[str, ...]) -> None:
    Path("empty.tif").touch()
    Path("half.tif").write_bytes(write_scene(Path("scene.tif")).read_bytes()[:100])
    outcome = run("gfnet-dynn", "map", "tiny.gfd", *words, "-o", "map.tif", *QUICK)
    assert outcome.status == 2
    assert all(fact in outcome.err for fact in facts), outcome.err
    assert "Traceback" not in outcome.err
    assert not Path("map.tif").exists()


def test_unreadable_parts_give_status_2_and_a_map(run: Run) -> None:
    write_scene(Path("scene.tif"), pixels(320, 320), blockxsize=64, blockysize=64, compress="DEFLATE")
    content = bytearray(Path("scene.tif").read_bytes())
    with rasterio.open("scene.tif") as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_2_3", "TIFF", bidx=1))
    content[place : place + 40] = bytes(40)
    Path("scene.tif").write_bytes(bytes(content))
    outcome = run("gfnet-dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif", *QUICK)
    assert outcome.status == 2
    assert "4,096 pixels of scene.tif cannot be read" in outcome.out
    assert "Area of each class" in outcome.out
    assert (read_map(Path("map.tif")) == 255).sum() == 256


def test_without_rasterio_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None if name == "rasterio" else find(name))
    outcome = run("gfnet-dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif")
    assert outcome.status == 2
    assert "gfnet-dynn[geo]" in outcome.err


def command(*options: str) -> list[str]:
    line = (sys.executable, "-m", "gfnet_dynn", "map", "tiny.gfd", "scene.tif", "-o", "map.tif")
    return [*line, *QUICK, *options]


def large_scene() -> None:
    values = pixels(2000, 2000)
    write_scene(Path("scene.tif"), values, blockxsize=256, blockysize=256, compress="DEFLATE", transform=PLACE, crs=CRS)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.release)])
def test_a_map_that_is_killed_at_any_moment_ends_the_same(kills: int) -> None:
    large_scene()
    began = time.monotonic()
    subprocess.run(command(), check=True, capture_output=True)
    whole = time.monotonic() - began
    expected = {name: Path(name).read_bytes() for name in OUTPUTS}
    generator, killed = random.Random(0), 0
    for _ in range(kills):
        for name in OUTPUTS:
            Path(name).unlink(missing_ok=True)
        with subprocess.Popen(command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(generator.uniform(0.3, 1.0) * whole)
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        assert not Path("map.tif").exists() or all(Path(name).is_file() for name in OUTPUTS)
        subprocess.run(command(), check=True, capture_output=True)
        assert {name: Path(name).read_bytes() for name in OUTPUTS} == expected
        assert {path.name for path in Path().iterdir()} == {"scene.tif", "tiny.gfd", "cache", *OUTPUTS} - (
            set() if Path("cache").exists() else {"cache"}
        )
    assert killed >= kills // 2


@pytest.mark.slow
def test_an_interruption_says_how_to_continue() -> None:
    large_scene()
    with subprocess.Popen(command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not Path("map.tif.part/key").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[1]
    assert process.returncode == 130
    assert "map.tif.part: the same command continues" in printed
    assert "Traceback" not in printed
    assert not Path("map.tif").exists()
    subprocess.run(command(), check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is not taken in advance here")
def test_a_disk_that_is_full_is_named_at_the_start() -> None:
    large_scene()
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    code = f"{limited}; sys.argv = {command()[2:]!r}; runpy.run_module('gfnet_dynn', run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "cannot write into map.tif.part: File too large" in result.stderr
    assert "Traceback" not in result.stderr
