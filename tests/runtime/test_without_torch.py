"""A device has NumPy, Pillow and an engine: neither torch nor onnx."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gfnet_dynn.runtime import load
from tests import bundles
from tests.test_architecture import without_torch

BODY = """
sys.modules["onnx"] = None
from gfnet_dynn.runtime import load
for each in load(sys.argv[1], precision="fp32", threads=1).classify(sys.argv[2:], policy="plain"):
    print(each.label, each.exit)
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A bundle and images."""
    for index, pixels in enumerate(bundles.images(3)):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    return [str(bundles.write_tiny(tmp_path / "tiny.gfd")), *map(str, sorted(tmp_path.glob("*.png")))]


def test_the_answers_without_torch_and_onnx_are_those_with_them(files: list[str]) -> None:
    here = load(files[0], precision="fp32", threads=1).classify(files[1:], policy="plain")
    result = without_torch(BODY, *files)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{each.label} {each.exit}" for each in here]
    assert len({each.label for each in here}) > 1


def test_the_command_classifies_without_torch_and_onnx(files: list[str]) -> None:
    body = 'sys.modules["onnx"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    result = without_torch(body, "classify", *files, "--precision", "fp32", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == files[1:]


def test_the_command_measures_without_torch_and_onnx(files: list[str], tmp_path: Path) -> None:
    body = 'sys.modules["onnx"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    options = ("--repeats", "1", "--energy-seconds", "0", "--engine", "onnxruntime", "--json", str(tmp_path / "a.json"))
    result = without_torch(body, "benchmark", *files, *options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.json").is_file()
