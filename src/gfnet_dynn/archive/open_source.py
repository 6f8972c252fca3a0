"""From what a request names to the source that reads it."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.archive.names import STDIN, FolderSource, ListSource
from gfnet_dynn.archive.places import find_files, is_url
from gfnet_dynn.archive.request import ArchiveRequest, Kind
from gfnet_dynn.archive.shards import SUFFIXES as SHARDS
from gfnet_dynn.archive.shards import ShardSource
from gfnet_dynn.archive.source import Source
from gfnet_dynn.archive.tables import SUFFIXES as TABLES
from gfnet_dynn.archive.tables import TableSource
from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.images.files import is_image_name, walk

_LISTS = (".txt", ".lst")


def open_source(request: ArchiveRequest) -> Source:
    """The source of a request; nothing but names is read.

    Raises:
        DataError: it is not there, or its kind does not follow from the names of its files.
        OptionError: options for another kind, or several folders or lists.
    """
    kind = _kind(request) if request.kind == "auto" else request.kind
    if kind != "tables" and (request.image_column or request.id_column):
        wrong = "--image-column" if request.image_column else "--id-column"
        raise OptionError(f"{wrong} is for tables, and {request.sources[0]} holds {kind}: leave it out")
    places = tuple(map(_absolute, request.sources))
    if kind == "tables":
        return TableSource(places, request.partition_size, request.image_column, request.id_column)
    if kind == "shards":
        return ShardSource(places)
    if len(places) > 1:
        raise OptionError(f"one source at a time: {places[1]} needs an --output of its own, or a list of all images")
    return (FolderSource if kind == "images" else ListSource)(places[0], request.partition_size)


def _absolute(place: str) -> str:
    """As workers have other working folders."""
    return place if place == STDIN or is_url(place) else str(Path(place).absolute())


def _kind(request: ArchiveRequest) -> Kind:
    place = request.sources[0]
    name = place.lower()
    if place == STDIN or name.endswith(_LISTS):
        return "list"
    if name.endswith(SHARDS):
        return "shards"
    if name.endswith(TABLES):
        return "tables"
    if not is_url(place) and Path(place).is_file():
        raise DataError(f"{place} is no archive: name a folder, a .txt list, .tar or .parquet files, or give --kind")
    return _kind_of_folder(place)


def _kind_of_folder(place: str) -> Kind:
    """By the first file whose name says it."""
    if is_url(place):
        names = (each.name for each in find_files(place, (*SHARDS, *TABLES, "")))
    else:
        if not Path(place).is_dir():
            raise DataError(f"no file or folder {place}")
        names = (str(each) for each in walk(Path(place)) if not isinstance(each, DataError))
    for name in names:
        if is_image_name(name.rpartition("/")[2]):
            return "images"
        if name.lower().endswith((*SHARDS, *TABLES)):
            return "shards" if name.lower().endswith(SHARDS) else "tables"
    raise DataError(f"{place} has no images, .tar or .parquet files")
