"""Which scenes a folder, a file or a URL stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gfnet_dynn.archive.addresses import shown, suffix_of
from gfnet_dynn.archive.places import find_files, is_url
from gfnet_dynn.archive.stac_items import FoundScene, is_document, scenes_of_document
from gfnet_dynn.errors import DataError, OptionError
from gfnet_dynn.images.files import TIFF_SUFFIXES, describe_skipped, find_images

_JSON = (".json", ".geojson")
CATALOGS = ("collection.json", "catalog.json")
"""Files that say which scenes a folder has."""


def find_scenes(places: Sequence[str], asset: str | None) -> list[FoundScene]:
    """All scenes of folders, files and URLs, in an order that is always the same; none is opened.

    A folder with `collection.json` or `catalog.json` is what that says. In another, GeoTIFFs count, at any depth; STAC
    items where there are none, or where an asset is named.

    Raises:
        DataError: a place does not exist, cannot be read or has no scene, or two scenes have one name.
        OptionError: an asset, but no STAC item.
    """
    found = [each for place in places for each in _at(place, asset)]
    _refuse_twins(found)
    return found


def _at(place: str, asset: str | None) -> Sequence[FoundScene]:
    if is_url(place):
        found = list(_at_url(place, asset))
    elif Path(place).is_dir():
        found = list(_in_folder(Path(place), asset))
    else:
        found = list(_in_file(Path(place), asset))
    if not found:
        raise DataError(f"{shown(place)} has no STAC item")
    return found


def _at_url(url: str, asset: str | None) -> Iterator[FoundScene]:
    if suffix_of(url) in TIFF_SUFFIXES:
        _refuse_asset(asset, url)
        yield FoundScene(shown(url).rpartition("/")[2], url)
    elif suffix_of(url) in _JSON or url.startswith(("http://", "https://")):
        yield from scenes_of_document(url, asset)
    else:
        _refuse_asset(asset, url)
        for file in find_files(url, TIFF_SUFFIXES):
            yield FoundScene(file.name, file.uri)


def _in_file(file: Path, asset: str | None) -> Iterator[FoundScene]:
    if file.suffix.lower() in _JSON and file.exists():
        yield from scenes_of_document(str(file), asset)
        return
    _refuse_asset(asset, str(file))
    yield from _tiffs(find_images(file).images, file.parent)


def _in_folder(folder: Path, asset: str | None) -> Iterator[FoundScene]:
    for name in CATALOGS:
        if (folder / name).is_file():
            yield from scenes_of_document(str(folder / name), asset)
            return
    files = find_images(folder)
    tiffs = [file for file in files.images if file.suffix.lower() in TIFF_SUFFIXES]
    documents = [file for file in files.skipped if file.suffix.lower() in _JSON and is_document(str(file))]
    if tiffs and asset is None:
        yield from _tiffs(tiffs, folder)
        return
    if not documents:
        _refuse_asset(asset, str(folder))
        others = describe_skipped([*files.images, *files.skipped])
        raise DataError(f"the folder {folder} has no GeoTIFF and no STAC item" + (f", but {others}" if others else ""))
    for file in documents:
        yield from scenes_of_document(str(file), asset)


def _tiffs(files: Sequence[Path], folder: Path) -> Iterator[FoundScene]:
    for file in files:
        name = file.relative_to(folder).as_posix()
        yield FoundScene(name.encode("utf-8", "backslashreplace").decode(), str(file))


def _refuse_asset(asset: str | None, place: str) -> None:
    if asset is not None:
        raise OptionError(f"--asset chooses among the assets of STAC items, and {shown(place)} has none: leave it out")


def _refuse_twins(found: Sequence[FoundScene]) -> None:
    seen: set[str] = set()
    for each in found:
        if each.id in seen:
            raise DataError(
                f"two scenes have the name {each.id}, and their rows could not be told apart: archive them apart"
            )
        seen.add(each.id)
