"""Map the classes of a georeferenced scene. Needs no torch and no network connection; needs the extra `geo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gfnet_dynn.errors import OptionError, require_extra
from gfnet_dynn.geo.request import MapRequest
from gfnet_dynn.geo.result import MapResult
from gfnet_dynn.progress import Log, OnProgress, ignore_log, ignore_progress

if TYPE_CHECKING:
    from gfnet_dynn.geo.raster import Scene


def map_scene(
    request: MapRequest,
    scene: Scene | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    log: Log = ignore_log,
) -> MapResult:
    """Classify a scene chip by chip, and write maps of the classes, confidences and exits.

    Args:
        request: options.
        scene: in place of the request's: a path, an open rasterio dataset that nothing else reads meanwhile, or an
            array with a transform, `gfnet_dynn.geo.raster.SceneArray`.
        on_progress: called with the blocks that are finished.
        log: receives notes: which model was chosen, and how to continue where the work is interrupted.

    What cannot be read becomes nodata and is named in the result. Interrupted work keeps its finished blocks beside the
    output, in `OUTPUT.part`; the same request continues it, and ends with the same maps.

    Raises:
        BundleError: missing, damaged, of another version, or without that policy or precision.
        BusyError: another process makes the same map.
        DataError: the scene is missing, damaged, has no place on Earth, or is not what the model takes.
        EngineError: the engine cannot run the bundle.
        MissingExtraError: rasterio is not installed.
        ModelChoiceError: no bundle is named, and no built-in model is meant for the scene.
        OptionError: options that do not fit the scene.
        StorageError: no space or no permission; finished blocks are kept.
    """
    require_extra("mapping a scene", "geo")
    from gfnet_dynn.geo.mapping import map_dataset
    from gfnet_dynn.geo.raster import opened

    taken = request.scene if scene is None else scene
    if taken is None:
        raise OptionError("nothing to map: name a GeoTIFF" + (f" after {request.bundle}" if request.bundle else ""))
    with opened(taken) as dataset:
        return map_dataset(request, dataset, on_progress, log)
