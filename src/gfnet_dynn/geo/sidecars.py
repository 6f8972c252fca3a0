"""Files beside a class map: names of the classes for GDAL (`.aux.xml`), and a style with a legend for QGIS (`.qml`).

A palette in a TIFF has 256 entries and no names: without these files a map shows numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from gfnet_dynn.geo.legend import Entry

# As gdal.h numbers them: usage of a column, and type of its values.
_INTEGER, _REAL, _STRING = 0, 1, 2
_GENERIC, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE, _ALPHA = 0, 2, 5, 6, 7, 8, 9


def auxiliary_xml(legend: Sequence[Entry], area_km2: Sequence[float]) -> bytes:
    """`FILE.tif.aux.xml`: category names, and a thematic raster attribute table with names, colours and areas."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for entry in legend:
        ElementTree.SubElement(names, "Category").text = entry.name
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    columns = [("Value", _INTEGER, _MIN_MAX), ("Class", _STRING, _NAME), ("Area_km2", _REAL, _GENERIC)]
    columns += [
        (name, _INTEGER, use) for name, use in (("Red", _RED), ("Green", _GREEN), ("Blue", _BLUE), ("Alpha", _ALPHA))
    ]
    for index, (name, kind, usage) in enumerate(columns):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(field, tag).text = str(value)
    for index, (entry, area) in enumerate(zip(legend, area_km2, strict=True)):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in (entry.value, entry.name, f"{area:.6f}", *entry.colour, 255):
            ElementTree.SubElement(row, "F").text = str(value)
    return _written(root)


def qgis_style(legend: Sequence[Entry]) -> bytes:
    """`FILE.qml`, which QGIS applies when it opens FILE.tif: one named entry for each class, and no others."""
    root = ElementTree.Element("qgis", styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for entry in legend:
        described = {"value": str(entry.value), "label": entry.name, "alpha": "255"}
        ElementTree.SubElement(palette, "paletteEntry", described, color=f"#{bytes(entry.colour).hex()}")
    return _written(root)


def _written(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)  # GDAL stops at a declaration
    return written + b"\n"


def sidecars(class_map: Path, legend: Sequence[Entry], area_km2: Sequence[float]) -> Mapping[Path, bytes]:
    """Contents of all of them, by their path."""
    return {
        class_map.with_name(f"{class_map.name}.aux.xml"): auxiliary_xml(legend, area_km2),
        class_map.with_suffix(".qml"): qgis_style(legend),
    }
