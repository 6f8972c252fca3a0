"""From what a request names to the source that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gfnet_dynn.archive.names import STDIN, FolderSource, ListSource
from gfnet_dynn.archive.places import find_files, is_url
from gfnet_dynn.archive.request import ArchiveRequest, Kind
from gfnet_dynn.archive.scene_finder import CATALOGS
from gfnet_dynn.archive.scene_options import AS_STATED
from gfnet_dynn.archive.shards import SUFFIXES as SHARDS
from gfnet_dynn.archive.shards import ShardSource
from gfnet_dynn.archive.source import Source
from gfnet_dynn.archive.tables import SUFFIXES as TABLES
from gfnet_dynn.archive.tables import TableSource
from gfnet_dynn.bundle.builtin import builtin_models
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError, OptionError, require_extra
from gfnet_dynn.images.files import TIFF_SUFFIXES, is_image_name, walk

_LISTS = (".txt", ".lst")
_SCENES = (*TIFF_SUFFIXES, ".json", ".geojson")


def open_source(request: ArchiveRequest, manifest: Manifest) -> Source:
    """The source of a request, for a model; nothing but names is read.

    Raises:
        DataError: it is not there, or its kind does not follow from the names of its files.
        MissingExtraError: a package that reads that kind is not installed.
        OptionError: options for another kind, or several folders or lists.
    """
    kind = kind_of(request)
    if kind != "tables" and (request.image_column or request.id_column):
        wrong = "--image-column" if request.image_column else "--id-column"
        raise OptionError(f"{wrong} is for tables, and {request.sources[0]} holds {kind}: leave it out")
    if kind != "scenes" and request.scenes != AS_STATED:
        raise OptionError(
            f"--asset, --bands, --scale, --chip and --stride are for scenes, and {request.sources[0]} holds {kind}: "
            "leave them out, or add --kind scenes"
        )
    places = tuple(map(_absolute, request.sources))
    if kind == "scenes":
        return _scenes(request, places, manifest)
    if kind == "tables":
        return TableSource(places, request.partition_size, request.image_column, request.id_column)
    if kind == "shards":
        return ShardSource(places)
    if len(places) > 1:
        raise OptionError(f"one source at a time: {places[1]} needs an --output of its own, or a list of all images")
    return (FolderSource if kind == "images" else ListSource)(places[0], request.partition_size)


def _scenes(request: ArchiveRequest, places: tuple[str, ...], manifest: Manifest) -> Source:
    require_extra("an archive of scenes", "geo")
    from gfnet_dynn.archive.scenes import scene_source  # noqa: PLC0415 # needs the extra

    return scene_source(places, request.scenes, request.gsd, manifest, request.partition_size)


def files_to_choose_by(request: ArchiveRequest) -> Sequence[Path]:
    """Files whose ground sampling distance may choose the model: of scenes. Raises as `open_source`."""
    if request.gsd is not None or kind_of(request) != "scenes":
        return ()
    require_extra("an archive of scenes", "geo")
    from gfnet_dynn.archive.scenes import some_files  # noqa: PLC0415 # needs the extra

    return some_files(request.sources, request.scenes.asset)


def kind_of(request: ArchiveRequest) -> Kind:
    """What the source holds: as the request says, else by names; raises DataError: they do not say it."""
    return _kind(request) if request.kind == "auto" else request.kind


def _absolute(place: str) -> str:
    """As workers have other working folders."""
    return place if place == STDIN or is_url(place) else str(Path(place).absolute())


def _kind(request: ArchiveRequest) -> Kind:
    place = request.sources[0]
    kinds = {each: _kind_by_name(each) for each in request.sources}
    other = next((each for each, kind in kinds.items() if kind != kinds[place]), None)
    if other is not None:
        raise DataError(f"{place} and {other} are not of one kind: classify them one after the other, or give --kind")
    if (kind := kinds[place]) is not None:
        return kind
    if any((Path(place) / each).is_file() for each in CATALOGS):
        return "scenes"
    if not is_url(place) and Path(place).is_file():
        raise DataError(
            f"{place} is no archive: name a folder, a .txt list, .tar, .parquet, .tif or STAC files, or give --kind; "
            "`gfnet-dynn classify` takes single images"
        )
    return _kind_of_folder(place)


def _kind_by_name(place: str) -> Kind | None:
    """Of a file; None: its name does not say it, as that of a folder."""
    name = place.lower()
    if place == STDIN or name.endswith(_LISTS):
        return "list"
    if name.endswith(SHARDS):
        return "shards"
    if name.endswith(TABLES):
        return "tables"
    return "scenes" if name.partition("?")[0].endswith(_SCENES) else None


def _kind_of_folder(place: str) -> Kind:
    """By the first file whose name says it; raises DataError: others say something else, or there is none."""
    if is_url(place):
        names = (each.name for each in find_files(place, (*SHARDS, *TABLES, "")))
    else:
        if not Path(place).is_dir():
            models = ", ".join(builtin_models())
            hint = f"the built-in models are {models}"
            if set(place) & set("*?["):
                hint = "patterns are for .tar and .parquet; a shell expands others where they are not quoted"
            raise DataError(f"no file or folder {printable(place)}: {hint}")
        names = (str(each) for each in walk(Path(place)) if not isinstance(each, DataError))
    found: Kind | None = None
    for name in names:
        lower = name.lower()
        kind: Kind | None = "shards" if lower.endswith(SHARDS) else "tables" if lower.endswith(TABLES) else None
        if is_image_name(name.rpartition("/")[2]):
            kind = "images"
        if found is not None and kind not in (None, found):
            raise DataError(f"{place} holds {found} and {kind}, such as {printable(name)}: say which with --kind")
        found = found or kind
        if found == "images":
            return found  # there may be millions; what is no image is told when they are listed
    if found is None:
        raise DataError(f"{place} has no images, .tar or .parquet files")
    return found
