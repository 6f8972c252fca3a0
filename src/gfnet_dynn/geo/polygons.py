"""The areas of each class as polygons in a GeoPackage."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.features import shapes

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.geo.blend import NODATA
from gfnet_dynn.geo.legend import Entry

_POLYGON, _LITTLE_ENDIAN = 3, 1  # of well-known binary


def write_polygons(class_map: Path, target: Path, legend: Sequence[Entry], layer: str) -> Path:
    """Write one polygon for each area of a class whose cells touch by an edge, with the fields `value` and `class`.

    Raises:
        MissingExtraError: pyogrio is not installed.
        StorageError: it cannot be written.
    """
    try:
        from pyogrio.raw import write  # noqa: PLC0415 # an extra
    except ImportError as error:
        raise MissingExtraError("writing polygons", "geo") from error
    names = {entry.value: entry.name for entry in legend}
    with rasterio.open(class_map) as dataset:
        values, transform, crs = dataset.read(1), dataset.transform, dataset.crs.to_wkt()
    found = list(_polygons(values, transform))
    numbers = np.array([value for value, _ in found], np.int32)
    fields = [numbers, np.array([names[value] for value, _ in found], object)]
    target.unlink(missing_ok=True)
    try:
        write(
            target,
            np.array([shape for _, shape in found], object),
            fields,
            ["value", "class"],
            layer=layer,
            driver="GPKG",
            geometry_type="Polygon",
            crs=crs,
        )
    except Exception as error:  # pyogrio has several classes for a failed write
        raise StorageError(
            f"cannot write the polygons to {target}: {error}; free space or choose another folder"
        ) from error
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return target


def _polygons(values: Any, transform: Any) -> Iterator[tuple[int, bytes]]:
    """Value of each area and its polygon as well-known binary."""
    for shape, value in shapes(values, mask=values != NODATA, transform=transform):
        yield int(value), _binary(shape["coordinates"])


def _binary(rings: Sequence[Sequence[tuple[float, float]]]) -> bytes:
    parts = [struct.pack("<BII", _LITTLE_ENDIAN, _POLYGON, len(rings))]
    for ring in rings:
        parts.append(struct.pack("<I", len(ring)))
        parts += [struct.pack("<dd", x, y) for x, y in ring]
    return b"".join(parts)
