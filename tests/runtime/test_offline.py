"""What runs on a device tells nobody: an engine that reports its use to its makers is told not to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import bundles

BODY = """
import sys
from gfnet_dynn.runtime import load
load(sys.argv[1], engine="onnxruntime", precision="fp32", threads=1).classify(sys.argv[2:])
"""

# onnxruntime is silent by itself where it takes the machine for one that tests.
SILENCING = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME", "XDG_DATA_HOME")


@pytest.mark.skipif(sys.platform != "linux", reason="knows where onnxruntime keeps its reports on Linux alone")
def test_the_engine_prepares_no_report_of_its_use(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    photo = tmp_path / "photo.png"
    Image.fromarray(bundles.images(1)[0]).save(photo)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SILENCING)}
    subprocess.run(
        [sys.executable, "-c", BODY, str(bundles.write_tiny(tmp_path / "tiny.gfd")), str(photo)],
        env={**kept, "HOME": str(home)},
        check=True,
        timeout=120,
    )
    assert [path for path in home.rglob("*") if "icrosoft" in path.name or "onnxruntime" in path.name] == []


def test_a_user_who_wants_the_reports_keeps_the_last_word() -> None:
    body = "import os, gfnet_dynn; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    told = subprocess.run(
        [sys.executable, "-c", body],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "0"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.stdout.strip() == "0"
