"""A STAC item (1.1.0) that describes the maps: place, time of making, classes, processing level, and the model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn import __version__
from gfnet_dynn.geo.ground import Ground
from gfnet_dynn.geo.legend import Entry
from gfnet_dynn.geo.products import MapFrame

_VERSION = "1.1.0"
_SCHEMAS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)
_LEVEL = "L4"  # of the processing extension: model output from lower-level data
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def stac_item(
    item: Path, maps: Mapping[str, Path], frame: MapFrame, legend: Sequence[Entry], links: Mapping[str, str]
) -> dict[str, Any]:
    """The item as JSON values; `maps` are its assets by name, `links` files or addresses by relation."""
    corners = _corners(frame)
    described: dict[str, Any] = {
        "type": "Feature",
        "stac_version": _VERSION,
        "stac_extensions": list(_SCHEMAS),
        "id": item.stem,
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "bbox": [*map(min, zip(*corners, strict=True)), *map(max, zip(*corners, strict=True))],
        "properties": {
            "datetime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "processing:level": _LEVEL,
            "processing:software": {"gfnet-dynn": __version__},
            "proj:code": _code(frame),
            "proj:wkt2": None if _code(frame) else frame.crs.to_wkt(),
            "proj:shape": [frame.height, frame.width],
            "proj:transform": list(frame.transform)[:6],
        },
        "links": [{"rel": relation, "href": target} for relation, target in links.items()],
        "assets": {name: _asset(name, file, item) for name, file in maps.items()},
    }
    described["assets"]["class"]["classification:classes"] = [
        {"value": entry.value, "name": entry.name, "color_hint": bytes(entry.colour).hex().upper()} for entry in legend
    ]
    return described


def _asset(name: str, file: Path, item: Path) -> dict[str, Any]:
    return {"href": os.path.relpath(file, item.parent), "type": _COG, "title": name, "roles": ["data"]}


def _code(frame: MapFrame) -> str | None:
    number = frame.crs.to_epsg()
    return f"EPSG:{number}" if number else None


def _corners(frame: MapFrame) -> list[list[float]]:
    """Longitude and latitude of the corners, counter-clockwise where rows run south."""
    ground = Ground(frame.transform, frame.crs)
    columns = np.array([0.0, 0.0, frame.width, frame.width])
    rows = np.array([0.0, frame.height, frame.height, 0.0])
    longitude, latitude = ground.degrees(columns, rows)
    return [[round(float(x), 7), round(float(y), 7)] for x, y in zip(longitude, latitude, strict=True)]
