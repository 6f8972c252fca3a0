"""A class map as a picture for a slide: colours, legend and scale bar. No matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gfnet_dynn.display import printable

_LONGEST, _GAP, _KEY, _LINE, _FONT = 1000, 24, 22, 32, 18  # pixels
_LEGEND, _BAR = 340, 10
_HATCH = 8  # pixels from line to line
_BAR_SHARE = 0.3  # of the map's width, at most

Bytes = npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A value of the map: its name, what stands behind it, its colour, and whether it is hatched."""

    value: int
    name: str
    note: str
    colour: tuple[int, int, int]
    hatched: bool = False


def draw_class_map(title: str, classes: Bytes, cell_m: tuple[float, float], legend: Sequence[LegendEntry]) -> bytes:
    """A PNG of a map, uint8 [rows, columns], whose cells have that width and height; other values are white."""
    coloured = _coloured(classes, cell_m, legend)
    font = ImageFont.load_default(_FONT)
    top, height = 2 * _GAP + _FONT, max(coloured.height, _LINE * len(legend))
    sheet = Image.new("RGB", (coloured.width + _LEGEND + 3 * _GAP, top + height + 3 * _GAP + _FONT), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), printable(title), "black", font)
    sheet.paste(coloured, (_GAP, top))
    draw.rectangle((_GAP - 1, top - 1, _GAP + coloured.width, top + coloured.height), outline=(190, 190, 190))
    metres_per_pixel = cell_m[0] * classes.shape[1] / coloured.width
    _draw_scale(draw, (_GAP, top + coloured.height + _GAP), coloured.width, metres_per_pixel, font)
    for index, entry in enumerate(legend):
        _draw_entry(sheet, (coloured.width + 2 * _GAP, top + index * _LINE), entry, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _coloured(classes: Bytes, cell_m: tuple[float, float], legend: Sequence[LegendEntry]) -> Image.Image:
    rows, columns = classes.shape
    tall = rows * cell_m[1] / cell_m[0]
    factor = _LONGEST / max(tall, columns)
    size = max(1, round(columns * factor)), max(1, round(tall * factor))
    values = np.asarray(Image.fromarray(classes).resize(size, Image.Resampling.NEAREST))
    palette = np.full((256, 3), 255, np.uint8)
    for entry in legend:
        palette[entry.value] = entry.colour
    pixels = palette[values]
    hatched = np.isin(values, [entry.value for entry in legend if entry.hatched])
    pixels[hatched & _lines(*values.shape)] = 40
    return Image.fromarray(pixels)


def _lines(height: int, width: int) -> npt.NDArray[np.bool_]:
    """Where diagonal lines are, [height, width]."""
    return np.asarray(np.add.outer(np.arange(height), np.arange(width)) % _HATCH < 2)


def _draw_entry(sheet: Image.Image, place: tuple[int, int], entry: LegendEntry, font: Font) -> None:
    key = np.full((_KEY, _KEY, 3), entry.colour, np.uint8)
    if entry.hatched:
        key[_lines(_KEY, _KEY)] = 40
    sheet.paste(Image.fromarray(key), place)
    draw = ImageDraw.Draw(sheet)
    draw.text((place[0] + _KEY + 10, place[1]), f"{printable(entry.name)}  {entry.note}".strip(), "black", font)


def _draw_scale(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], width: int, metres_per_pixel: float, font: Font
) -> None:
    metres = round_length(_BAR_SHARE * width * metres_per_pixel)
    left, top = place
    right = left + round(metres / metres_per_pixel)
    draw.rectangle((left, top, right, top + _BAR), fill="black")
    draw.rectangle((left + (right - left) // 2, top + 2, right - 2, top + _BAR - 2), fill="white")
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    draw.text((right + 10, top - _FONT // 4), text, "black", font)


def round_length(most: float) -> float:
    """The longest of 1, 2 or 5 times a power of ten that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
