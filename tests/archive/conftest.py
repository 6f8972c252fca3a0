"""Fixtures of all tests of archives."""

from __future__ import annotations

from importlib.util import find_spec

if None in map(find_spec, ("pyarrow", "fsspec")):
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.archive.archives import run

    __all__ = ["run"]
