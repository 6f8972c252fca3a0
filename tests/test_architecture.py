"""The law of the house: imports go downward only, and the edge never needs torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "gfnet_dynn"

# The rooms in the order of the law: a module imports from its own room and from those above it in this list.
ROOMS = (
    *("errors", "display", "options", "units", "wording", "progress", "spec", "system", "images", "reporting", "hub"),
    *("exits", "guarantees", "uncertainty", "bundle", "model", "runlayout", "runtime", "bulk", "geo", "watch", "data"),
    *(
        "benchmark",
        "evaluation",
        "calibration",
        "service",
        "archive",
        "cluster",
        "export",
        "train",
        "workflows",
        "cli",
        "__main__",
    ),
)
RANKS = {room: rank for rank, room in enumerate(ROOMS)}
TORCH_FREE = (
    *("errors", "display", "options", "units", "wording", "progress", "spec", "system", "images", "reporting", "hub"),
    *("exits", "guarantees", "uncertainty", "bundle", "runlayout", "runtime", "bulk", "geo", "watch", "calibration"),
    *("service", "archive", "cluster"),
)
TORCH = {"torch", "kornia", "lightning_fabric", "safetensors", "torchmetrics"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_part_has_a_rank() -> None:
    assert {part_of(path) for path in modules()} == set(RANKS)


def test_the_client_of_the_hub_is_known_in_two_places() -> None:
    knowing = {path for path in modules() if any(name.split(".")[0] == "huggingface_hub" for name in imported(path))}
    assert {part_of(path) for path in knowing - {PACKAGE / "data" / "catalogue" / "archive.py"}} == {"hub"}


def test_ray_is_known_in_one_room() -> None:
    assert {part_of(path) for path in modules() if any(name.split(".")[0] == "ray" for name in imported(path))} == {
        "cluster"
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    own = part_of(path)
    for name in imported(path):
        pieces = name.split(".")
        if pieces[0] == "gfnet_dynn" and pieces[1] != own and pieces[1:] != ["__version__"]:
            assert RANKS[pieces[1]] < RANKS[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", [p for p in modules() if part_of(p) in TORCH_FREE], ids=lambda path: path.stem)
def test_the_lower_floors_do_not_name_torch(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & TORCH


def test_nothing_imports_torchvision_or_timm() -> None:
    for path in modules():
        assert not {name.split(".")[0] for name in imported(path)} & {"torchvision", "timm", "torchgeo"}


def test_only_the_service_imports_the_web_packages() -> None:
    for path in modules():
        if part_of(path) != "service":
            known = {"fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client"}
            assert not {name.split(".")[0] for name in imported(path)} & known, path


def test_only_geo_imports_the_geospatial_packages() -> None:
    for path in modules():
        if part_of(path) != "geo":
            assert not {name.split(".")[0] for name in imported(path)} & {"rasterio", "pyogrio", "affine"}, path


def test_pyav_is_known_in_one_place() -> None:
    knowing = [path for path in modules() if any(name.split(".")[0] == "av" for name in imported(path))]
    assert knowing == [PACKAGE / "watch" / "camera.py"]


def test_parquet_is_known_in_two_places() -> None:
    knowing = {path for path in modules() if any(name.split(".")[0] == "pyarrow" for name in imported(path))}
    assert {path for path in knowing if part_of(path) != "archive"} == {PACKAGE / "bulk" / "parquet.py"}


def test_only_archive_knows_fsspec() -> None:
    knowing = [path for path in modules() if any(name.split(".")[0] == "fsspec" for name in imported(path))]
    assert knowing == [PACKAGE / "archive" / "places.py"]


WITHOUT_TORCH = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
sys.argv = {argv!r}
{body}
"""


def without_torch(body: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which training's packages cannot be imported."""
    code = WITHOUT_TORCH.format(
        blocked=sorted(TORCH | {"matplotlib", "tensorboard"}), argv=["gfnet-dynn", *argv], body=body
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_base_install_works_without_torch() -> None:
    names = [f"gfnet_dynn.{part}" for part in TORCH_FREE]
    names += ["gfnet_dynn.cli.app", "gfnet_dynn.data.check"]
    result = without_torch("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in names))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("argv", [("--help",), ("data", "list"), ("train", "--help")])
def test_the_command_line_works_without_torch(argv: tuple[str, ...]) -> None:
    result = without_torch("from gfnet_dynn.cli.app import main\nmain()", *argv)
    assert result.returncode == 0, result.stderr


def test_training_without_torch_names_the_extra() -> None:
    # A name that is bound to None cannot be found either, which is how an absent package looks.
    body = "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda n: None if n == 'torch' else find(n)\n"
    result = without_torch(body + "from gfnet_dynn.cli.app import main\nmain()", "train", "--data-set", "UCM")
    assert result.returncode == 2
    assert "gfnet-dynn[train]" in result.stderr
    assert "Traceback" not in result.stderr
