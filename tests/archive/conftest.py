"""Fixtures of all tests of archives; those of scenes need rasterio too."""

from __future__ import annotations

from importlib.util import find_spec

if None in map(find_spec, ("pyarrow", "fsspec")):
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.archive.archives import run

    __all__ = ["run"]
    collect_ignore_glob = ["test_scene*.py"] if find_spec("rasterio") is None else []
