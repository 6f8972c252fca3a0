"""Value, name and colour of each class of a map."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

from gfnet_dynn.errors import BundleError

Colour = tuple[int, int, int]

UNKNOWN = "unknown"

_MOST = 254  # classes: 255 is nodata, and one value is for unknown
_UNKNOWN_COLOUR = (128, 128, 128)
_HUES: tuple[
    tuple[tuple[str, ...], Colour], ...
] = (  # parts of names, and the colour that maps of land cover give them
    (("sealake", "lake", "sea", "ocean", "water"), (43, 101, 166)),
    (("river", "stream"), (86, 160, 211)),
    (("wetland", "harbor", "harbour", "ferry"), (74, 190, 190)),
    (("forest", "wood"), (34, 110, 57)),
    (("herbaceous", "chaparral", "shrub", "meadow"), (156, 190, 92)),
    (("pasture", "grass", "golf"), (190, 218, 124)),
    (("annualcrop", "agricult", "farm", "field", "cropland"), (243, 208, 96)),
    (("permanentcrop", "orchard", "vineyard"), (222, 158, 54)),
    (("beach", "sand", "desert", "bare"), (240, 226, 182)),
    (("snow", "ice", "glacier"), (226, 240, 250)),
    (("highway", "freeway", "road", "overpass", "intersection", "railway"), (92, 84, 92)),
    (("runway", "airport", "airplane", "parking"), (142, 120, 150)),
    (("industr", "storage", "commercial"), (154, 78, 144)),
    (("denseresidential",), (176, 38, 38)),
    (("mediumresidential", "residential", "building", "urban", "town", "city"), (214, 76, 66)),
    (("sparseresidential", "mobilehome"), (238, 148, 130)),
)
_GOLDEN = 0.6180339887  # of a turn of the hue: neighbours in any number of colours differ
_NEAR = 24  # levels: two classes with colours nearer than that in every band look the same


@dataclass(frozen=True, slots=True)
class Entry:
    """One class of a map."""

    value: int
    name: str
    colour: Colour


def make_legend(classes: Sequence[str], *, unknown: bool) -> tuple[Entry, ...]:
    """The classes in the order of their values; unknown comes last, where the policy has a rule for it.

    Raises:
        BundleError: more classes than a byte can tell apart.
    """
    if len(classes) > _MOST:
        raise BundleError(f"the bundle has {len(classes)} classes, and a map holds at most {_MOST}")
    entries = [
        Entry(index, name, colour) for index, (name, colour) in enumerate(zip(classes, _colours(classes), strict=True))
    ]
    return (*entries, *([Entry(len(entries), UNKNOWN, _UNKNOWN_COLOUR)] if unknown else []))


def _colours(classes: Sequence[str]) -> list[Colour]:
    """Customary colours first, each for the first class that asks for it; then others that differ from all of them."""
    taken, found = [_UNKNOWN_COLOUR], dict[int, Colour]()
    for choose in (_customary, _invented):
        for index, name in enumerate(classes):
            if index not in found and (colour := choose(name, index, taken)) is not None:
                found[index] = colour
                taken.append(colour)
    return [found[index] for index in range(len(classes))]


def _customary(name: str, index: int, taken: Sequence[Colour]) -> Colour | None:
    plain = "".join(filter(str.isalpha, name.casefold()))
    matching = (colour for parts, colour in _HUES if any(part in plain for part in parts))
    return next((colour for colour in matching if not _like_any(colour, taken)), None)


def _invented(name: str, index: int, taken: Sequence[Colour]) -> Colour:
    tries = [_from_hue((index + turn) * _GOLDEN % 1, 0.45 + 0.12 * ((index + turn) % 3)) for turn in range(50)]
    return next((each for each in tries if not _like_any(each, taken)), tries[0])


def _from_hue(hue: float, lightness: float) -> Colour:
    red, green, blue = (round(255 * each) for each in colorsys.hls_to_rgb(hue, lightness, 0.6))
    return red, green, blue


def _like_any(colour: Colour, others: Sequence[Colour]) -> bool:
    return any(max(abs(a - b) for a, b in zip(colour, other, strict=True)) < _NEAR for other in others)
