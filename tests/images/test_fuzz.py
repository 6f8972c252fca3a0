"""Damaged images: an image or an ImageError, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked for as Linux has it")
@pytest.mark.parametrize("count", [100, pytest.param(1500, marks=pytest.mark.release)])
def test_a_damaged_image_is_read_or_is_an_error(count: int) -> None:
    command = [sys.executable, "-m", "tests.images.fuzzing", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert min(found["read"], found["errors"]) > count / 8
    assert found["read"] + found["errors"] >= count
    assert found["longest_s"] < 10
    assert found["grown_mb"] < 500
