"""Archives need pyarrow and fsspec, those of scenes rasterio too."""

from __future__ import annotations

from importlib.util import find_spec

_ALL = ("pyarrow", "fsspec")
collect_ignore_glob = ["test_*.py"] if any(find_spec(name) is None for name in _ALL) else []
if find_spec("rasterio") is None:
    collect_ignore_glob += ["test_scenes.py", "test_scene_archive.py"]
