"""Tests of map jobs need what the service and maps need."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = ["test_job*.py"] if None in map(find_spec, ("fastapi", "rasterio")) else []
