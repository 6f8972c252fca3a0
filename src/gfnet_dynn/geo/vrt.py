"""Parts of a virtual raster whose files are missing.

GDAL reports a missing part when it is first read, and from then on reads zeros in its place. So they are looked up
before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

_SUFFIX = ".vrt"
_DEEPEST = 8  # virtual rasters within virtual rasters

Part = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the scene."""


def missing_parts(dataset: DatasetReader, bands: Sequence[int]) -> tuple[Part, ...]:
    """Where the files of a virtual raster are missing, and read once, so that GDAL has reported them."""
    if dataset.driver != "VRT" or not Path(dataset.name).is_file():
        return ()
    parts = tuple(dict.fromkeys(_missing(Path(dataset.name), dataset.width, dataset.height)))
    for left, top, right, bottom in parts:
        for band in bands:
            with suppress(RasterioError):
                dataset.read(band, window=Window(left, top, right - left, bottom - top), out_shape=(1, 1))
    return parts


def _missing(path: Path, width: int, height: int) -> Iterator[Part]:
    for source in _sources(path):
        if _is_incomplete(_file_of(source, path), _DEEPEST):
            place = source.find("DstRect")
            if place is None:
                yield 0, 0, width, height
                continue
            left, top, wide, high = (float(place.get(name, "0")) for name in ("xOff", "yOff", "xSize", "ySize"))
            right, bottom = min(width, math.ceil(left + wide)), min(height, math.ceil(top + high))
            yield max(0, math.floor(left)), max(0, math.floor(top)), right, bottom


def _sources(path: Path) -> Iterator[ElementTree.Element]:
    """Elements that describe a part; none of what is no virtual raster."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError):
        return
    for element in root.iter():
        if element.find("SourceFilename") is not None:
            yield element


def _file_of(source: ElementTree.Element, path: Path) -> Path | None:
    """The file of a part; None: it is no file of its own, such as a layer of a container."""
    named = source.find("SourceFilename")
    if named is None or not named.text or named.text.startswith("/vsi") or ":" in named.text:
        return None
    return path.parent / named.text if named.get("relativeToVRT") == "1" else Path(named.text)


def _is_incomplete(file: Path | None, depth: int) -> bool:
    """Whether a part is missing, or is a virtual raster with a missing part."""
    if file is None:
        return False
    if not file.exists():
        return True
    if file.suffix.lower() != _SUFFIX or not depth:
        return False
    return any(_is_incomplete(_file_of(source, file), depth - 1) for source in _sources(file))
