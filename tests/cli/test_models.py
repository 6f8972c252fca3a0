"""Built-in models, which commands take by name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from gfnet_dynn.bundle import builtin
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.card import Card, PolicyFigures
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows import ClassifyRequest, classify
from tests import bundles
from tests.cli.conftest import Run
from tests.images.test_georeference import METRE, PROJECTED, write

FAR: Any = "far"  # requests take text where they have paths
QUICK = ("--threads", "1", "--precision", "fp32")


def card(title: str, gsd_m: tuple[float, float]) -> Card:
    figures = {
        "full": PolicyFigures(0.981, (0.96, 0.99), 1.0),
        "gates": PolicyFigures(0.975, (0.95, 0.985), 0.61, calibrated_on_these=True),
    }
    return Card(
        title=title,
        gsd_m=gsd_m,
        data="invented",
        licence="MIT",
        intended_use="tests",
        limits=("not for the world", "nor for Mars"),
        recipe="make models",
        measured_on="400 invented images",
        images=400,
        policies=figures,
        class_accuracy=dict.fromkeys(bundles.CLASSES, 0.98),
    )


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Path]]:
    """Two built-in models, and an image that states no ground sampling distance."""
    folder = tmp_path / "installed"
    folder.mkdir()
    cards = {"near": card("Aerial scenes", (0.1, 1)), "far": card("Satellite scenes", (5, 20))}
    found = {}
    for name, each in cards.items():
        found[name] = folder / f"{name}.gfd"
        bundles.write_tiny(found[name], card=each)
    monkeypatch.setattr(builtin, "_FOLDER", folder)
    builtin.builtin_models.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(bundles.images(1)[0]).save("photo.png")
    yield found
    builtin.builtin_models.cache_clear()


def test_the_list(run: Run) -> None:
    outcome = run("gfnet-dynn", "models")
    assert outcome.status == 0
    for fact in ("near", "far", "Aerial scenes", "5 to 20", "98.1%", "bundle info near"):
        assert fact in outcome.out


def test_a_card_is_shown_whole(run: Run) -> None:
    outcome = run("gfnet-dynn", "bundle", "info", "far")
    assert outcome.status == 0
    for fact in ("5 to 20 m", "invented", "not for the world", "nor for Mars", "MIT", "97.5%", "400 invented", "61%"):
        assert fact in outcome.out


def test_a_name_stands_for_its_bundle(run: Run, installed: dict[str, Path]) -> None:
    by_name = run("gfnet-dynn", "classify", "near", "photo.png", *QUICK)
    by_path = run("gfnet-dynn", "classify", installed["near"], "photo.png", *QUICK)
    assert by_name.status == 0, by_name.err
    assert by_name.out == by_path.out
    assert load("near", threads=1).classify("photo.png")[0].label in by_name.out
    folder = Path("scenes")
    for name in bundles.CLASSES:
        (folder / name).mkdir(parents=True)
        shutil.copy("photo.png", folder / name)
    assert run("gfnet-dynn", "evaluate", "near", folder).status == 0
    line = ("photo.png", "--images", "1", "--repeats", "1", "--energy-seconds", "0", "--engine", "onnxruntime")
    assert run("gfnet-dynn", "benchmark", "near", *line, "--against", "far").status == 0


def test_georeferenced_images_choose_their_model(run: Run) -> None:
    write(Path("scene.tif"), (10.0, 10.0, 0.0), {1024: PROJECTED, 3076: METRE})
    outcome = run("gfnet-dynn", "classify", "scene.tif", "photo.png", *QUICK)
    assert outcome.status == 0, outcome.err
    assert "far" in outcome.err
    assert "10 m" in outcome.err
    assert outcome.out.count("photo.png") == 1
    chosen, named = (ClassifyRequest(bundle=name, images=(Path("scene.tif"),), threads=1) for name in (None, FAR))
    assert classify(chosen).predictions == classify(named).predictions


def test_the_ground_sampling_distance_can_be_given(run: Run) -> None:
    outcome = run("gfnet-dynn", "classify", "photo.png", "--gsd", "0.3", *QUICK)
    assert (outcome.status, "near" in outcome.err) == (0, True)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (("photo.png",), ("near for 0.1 to 1 m", "far for 5 to 20 m", "--gsd")),
        (("photo.png", "--gsd", "300"), ("300 m", "near", "far")),
        (("near.tif", "far.tif"), ("near.tif", "far.tif", "0.5 m", "10 m")),
        (("near", "photo.png", "--gsd", "0.3"), ("--gsd", "near.gfd")),
        (("photo.png", "--gsd", "0"), ("--gsd", "0.0")),
        (("photo.png", "--gsd", "nan"), ("--gsd", "nan")),
        (("near",), ("near.gfd", "image")),
        ((), ("image",)),
        (("sceen.gfd", "photo.png"), ("sceen.gfd",)),
    ],
)
def test_no_model_is_guessed(run: Run, line: tuple[str, ...], facts: tuple[str, ...]) -> None:
    write(Path("near.tif"), (0.5, 0.5, 0.0), {1024: PROJECTED})
    write(Path("far.tif"), (10.0, 10.0, 0.0), {1024: PROJECTED})
    outcome = run("gfnet-dynn", "classify", *line)
    assert (outcome.status, outcome.out) == (2, "")
    for fact in facts:
        assert fact in outcome.err


def test_at_a_terminal_the_command_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[click.Choice[str]] = []

    def answer(text: str, type: click.Choice[str], err: bool) -> str:  # noqa: A002 # as click names it
        asked.append(type)
        return "far"

    monkeypatch.setattr(click, "prompt", answer)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    outcome = run("gfnet-dynn", "classify", "photo.png", *QUICK)
    assert outcome.status == 0, outcome.err
    assert list(asked[0].choices) == ["far", "near"]
    assert outcome.out == run("gfnet-dynn", "classify", "far", "photo.png", *QUICK).out


def test_a_bundle_of_any_name_is_no_image(run: Run, installed: dict[str, Path]) -> None:
    shutil.copy(installed["near"], "bundle.bin")
    outcome = run("gfnet-dynn", "classify", "bundle.bin", "photo.png", *QUICK)
    assert outcome.status == 0, outcome.err


def test_installed_models_are_never_changed(run: Run, installed: dict[str, Path]) -> None:
    before = installed["near"].read_bytes()
    for line in (
        ("bundle", "set-default", "near", "full"),
        ("bundle", "remove-policy", "near", "gates"),
        ("calibrate", "near", "photo.png", "--max-mmacs", "1"),
    ):
        outcome = run("gfnet-dynn", *line)
        assert outcome.status == 2
        assert "built-in model near" in outcome.err
    assert installed["near"].read_bytes() == before
    assert read_bundle(installed["near"]).manifest.card is not None


def test_a_class_folder_is_not_calibrated_on(run: Run) -> None:
    folder = Path("scenes", bundles.CLASSES[0])
    folder.mkdir(parents=True)
    shutil.copy("photo.png", folder)
    outcome = run("gfnet-dynn", "calibrate", "near", folder, "--risk", "error", "--output", "mine.gfd")
    assert (outcome.status, "one class: give scenes" in outcome.err) == (2, True)
