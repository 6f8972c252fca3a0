"""Hostile bundles and checkpoints: read, or refused by an error of ours, within ten seconds and 500 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.images.fingerprint import BYTES
from gfnet_dynn.model.checkpoint import save_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.spec.backbone import GFNetSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from tests import bundles
from tests.fuzz.reading import MOST_MB

ROOT = Path(__file__).resolve().parents[2]


def write_bundle(path: Path) -> None:
    content = {**bundles.files(), LEARNED_FROM: bytes(BYTES)}
    neighbours = (bundles.CALIBRATED, *bundles.POLICIES)
    bundles.write_tiny(path, content, policies=neighbours)


def write_checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    spec = NetSpec(GFNetSpec(width=12, depth=4, patch_size=4), (0, 2), InputSpec(16), ("a", "b", "c"))
    save_checkpoint(path, build_net(spec), spec, {"stage": "joint", "data": {"name": "UCM"}})


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        *(("bundles", 100), ("checkpoints", 100)),
        *(pytest.param(kind, n, marks=pytest.mark.release) for kind, n in (("bundles", 1500), ("checkpoints", 700))),
    ],
)
def test_hostile_files_are_refused_within_limits(tmp_path: Path, kind: str, count: int) -> None:
    (write_bundle if kind == "bundles" else write_checkpoint)(tmp_path / "whole")
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.reading", kind, str(tmp_path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)  # and nothing else was printed
    assert done.stderr == "".join(f"{number}\n" for number in range(count))
    assert sum(found["ends"].values()) == count
    assert found["ends"].get("read", 0) < count / 2
    assert found["grown_mb"] < MOST_MB
