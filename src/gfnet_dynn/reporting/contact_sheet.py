"""Images with captions, many on one picture. No matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from gfnet_dynn.display import printable
from gfnet_dynn.errors import StorageError
from gfnet_dynn.system.storage import write_bytes

FORMATS = (".png", ".jpg", ".jpeg", ".webp")

_TILE, _GAP, _LINE, _FONT = 160, 10, 15, 12  # pixels
_COLUMNS = 6


@dataclass(frozen=True)
class Tile:
    """One image of a sheet: RGB, uint8 [height, width, 3]; lines of its caption, cut where too long for the tile."""

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...]


def require_sheet_format(path: Path) -> None:
    """Raise StorageError for a file name whose suffix is none of `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise StorageError(f"{path}: a picture of images is one of {', '.join(FORMATS)}")


def write_contact_sheet(path: Path, title: str, tiles: Sequence[Tile]) -> Path:
    """Write a sheet in the format of the suffix, with a title above the images in the order of reading.

    Raises StorageError for an unknown format, or if the file cannot be written.
    """
    require_sheet_format(path)
    font = ImageFont.load_default(_FONT)
    lines = max((len(tile.lines) for tile in tiles), default=0)
    step, row_height = _TILE + _GAP, _TILE + _LINE * lines + _GAP
    width = _GAP + step * _COLUMNS
    sheet = Image.new("RGB", (width, _GAP + 2 * _LINE + row_height * -(-len(tiles) // _COLUMNS)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), _fitting(title, width - 2 * _GAP, font), "black", font)
    for index, tile in enumerate(tiles):
        left, top = _GAP + step * (index % _COLUMNS), _GAP + 2 * _LINE + row_height * (index // _COLUMNS)
        sheet.paste(ImageOps.contain(Image.fromarray(tile.pixels), (_TILE, _TILE)), (left, top))
        for number, line in enumerate(tile.lines):
            draw.text((left, top + _TILE + _LINE * number), _fitting(line, _TILE, font), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, {".png": "PNG", ".webp": "WEBP"}.get(path.suffix.lower(), "JPEG"))
    return write_bytes(path, buffer.getvalue())


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    text = printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
