"""The ground sampling distance that a GeoTIFF states: how many metres one pixel covers (OGC 19-008r4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import TiffImagePlugin

from gfnet_dynn.images.formats import HEAD_BYTES, identify

_SCALE, _TRANSFORMATION, _KEYS = 33550, 34264, 34735  # tags of TIFF
_MODEL_TYPE, _ANGULAR_UNIT, _LINEAR_UNIT = 1024, 2054, 3076  # keys in the directory of _KEYS
_PROJECTED, _GEOGRAPHIC = 1, 2
_METRES = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}  # of a metre, a foot, a US survey foot (EPSG)
_DEGREE = 9102
_METRES_PER_DEGREE = 111_195.0  # of latitude, on a sphere of 6,371 km


def ground_sampling_distance(path: Path) -> float | None:
    """Metres on the ground that one pixel covers from row to row; None: the file does not state them.

    Only the header is read. A file that cannot be read states nothing: what reads its pixels will say why.
    """
    try:
        with path.open("rb") as file:
            if identify(file.read(HEAD_BYTES)) != "TIFF":
                return None
            file.seek(0)
            tags = TiffImagePlugin.TiffImageFile(file).tag_v2
            metres = _row_step(tags) * _unit(_directory(tags.get(_KEYS, ())))
    except Exception:  # Pillow raises nearly anything where a file is damaged
        return None
    return metres if 0 < metres < math.inf else None


def _row_step(tags: Mapping[int, Any]) -> float:
    """Length of a step to the next row, in the unit of the coordinates; 0: not stated."""
    if _SCALE in tags:
        return abs(float(tags[_SCALE][1]))
    if _TRANSFORMATION in tags:  # a 4 × 4 matrix, row by row
        return math.hypot(float(tags[_TRANSFORMATION][1]), float(tags[_TRANSFORMATION][5]))
    return 0.0


def _directory(values: Sequence[int]) -> dict[int, int]:
    """The keys whose values stand in the directory itself: after a head of four, four numbers for each key."""
    entries = zip(values[4::4], values[5::4], values[7::4], strict=False)
    return {key: value for key, place, value in entries if place == 0}


def _unit(keys: Mapping[int, int]) -> float:
    """Metres of a unit of the coordinates; 0: not stated."""
    kind = keys.get(_MODEL_TYPE)
    if kind == _PROJECTED:
        return _METRES.get(keys.get(_LINEAR_UNIT, 9001), 0.0)
    if kind == _GEOGRAPHIC and keys.get(_ANGULAR_UNIT, _DEGREE) == _DEGREE:
        return _METRES_PER_DEGREE
    return 0.0
