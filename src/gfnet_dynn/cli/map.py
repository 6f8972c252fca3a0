"""`gfnet-dynn map`."""

from __future__ import annotations

from gfnet_dynn.cli.streams import print_note
from gfnet_dynn.geo.request import MapRequest


def map(request: MapRequest) -> None:  # noqa: A001 # the verb's name
    """Map the classes of a GeoTIFF: Cloud-Optimised GeoTIFFs of class, confidence and exit, in bounded memory.

    Interrupted work continues with the same command. Parts of the scene that cannot be read are named and become
    nodata; the exit status is then 2. Needs the extra geo.
    """
    from gfnet_dynn.cli.terminal import ProgressBars, Terminal
    from gfnet_dynn.workflows.mapping import map_scene

    console = Terminal()
    result = map_scene(request, on_progress=ProgressBars(console), log=print_note)
    console.show(result, files=result.files)
    if result.unreadable:
        raise SystemExit(2)
