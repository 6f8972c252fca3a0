"""Options of archives of scenes; needs no rasterio."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_dynn.geo.request import Scale, bands_option, chip_option, scale_option
from gfnet_dynn.options import lenient, option, require

_PANEL = "Scenes"


@dataclass(frozen=True, kw_only=True)
@lenient
class SceneOptions:
    """Scenes."""

    asset: str | None = option(
        None,
        "Asset of each STAC item. [default: the GeoTIFF with the role data or visual, or the only one]",
        metavar="NAME",
        panel=_PANEL,
    )
    bands: tuple[str, ...] | None = bands_option(_PANEL)
    scale: Scale | None = scale_option(_PANEL)
    chip: float | None = chip_option(_PANEL)
    stride: float | None = option(
        None, "From chip to chip; each chip is a row. [default: a chip]", metavar="METRES", panel=_PANEL
    )

    def __post_init__(self) -> None:
        require(self, ("chip", "stride"), lambda value: value > 0, "be a positive number of metres")


AS_STATED = SceneOptions()
"""Scenes as they state themselves, and the model's chips side by side."""
