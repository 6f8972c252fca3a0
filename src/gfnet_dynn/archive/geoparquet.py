"""Columns and metadata that make a table of chips a GeoParquet 1.1 file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gfnet_dynn.system.storage import to_json

if TYPE_CHECKING:
    from gfnet_dynn.geo.footprint import Footprint

_GEOMETRY, _BOUNDS = "geometry", "bbox"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_MULTIPOLYGON = 6  # of well-known binary


def columns() -> Sequence[Any]:
    """Of a chip: its scene, row and column there, share of valid pixels, native reference system, and footprint."""
    return (
        pa.field("scene", pa.string()),
        pa.field("row", pa.int32()),
        pa.field("column", pa.int32()),
        pa.field("valid", pa.float32()),
        pa.field("crs", pa.string()),
        pa.field(_BOUNDS, pa.struct([(side, pa.float64()) for side in _SIDES])),
        pa.field(_GEOMETRY, pa.binary()),
    )


def geometry(footprint: Footprint | None) -> Mapping[str, Any]:
    """The values of the columns of a footprint."""
    if footprint is None:
        return {}
    return {_GEOMETRY: footprint.wkb, _BOUNDS: dict(zip(_SIDES, footprint.bounds, strict=True))}


def metadata(footprints: Iterable[Footprint | None]) -> Mapping[str, str]:
    """What a file with those footprints says of its geometry; no `crs` means OGC:CRS84."""
    found = [each for each in footprints if each is not None]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted({_kind(each) for each in found}),
        "orientation": "counterclockwise",
        "covering": {_BOUNDS: {side: [_BOUNDS, side] for side in _SIDES}},
    }
    if found:
        west, south, east, north = zip(*(each.bounds for each in found), strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    described = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
    return {"geo": to_json(described).decode().strip()}


def _kind(footprint: Footprint) -> str:
    return "MultiPolygon" if footprint.wkb[1] == _MULTIPOLYGON else "Polygon"
