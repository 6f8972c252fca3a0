"""A bundle and a folder to work in."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import bundles

collect_ignore_glob = ["test_*.py"] if find_spec("rasterio") is None else []


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny bundle, with the policy `calibrated` too, which has a rule for unknown images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return bundles.write_tiny(tmp_path / "tiny.gfd", policies=(*bundles.POLICIES, bundles.CALIBRATED))
