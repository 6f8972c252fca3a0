"""Scenes that STAC documents name: items, item collections, and collections or catalogs that link to items."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from gfnet_dynn.archive.addresses import join, read, shown, suffix_of
from gfnet_dynn.archive.places import MissingFileError
from gfnet_dynn.errors import DataError, GFNetDynnError, OptionError, nearest
from gfnet_dynn.images.files import TIFF_SUFFIXES

_AT_ONCE = 8  # documents that are read at a time
_TIFF_TYPE = "image/tiff"
_ROLES = ("data", "visual")
_ITEM, _COLLECTION, _LINKING = "Feature", "FeatureCollection", ("Collection", "Catalog")


@dataclass(frozen=True)
class FoundScene:
    """A scene of an archive, before it is opened.

    Attributes:
        id: of its rows.
        address: path or URL of the GeoTIFF.
        error: why there is none.
    """

    id: str
    address: str = ""
    error: GFNetDynnError | None = None


@dataclass(frozen=True)
class _Asset:
    href: str
    type: str | None = None
    roles: tuple[str, ...] | None = None

    @property
    def is_tiff(self) -> bool:
        return (self.type or "").startswith(_TIFF_TYPE) or suffix_of(self.href) in TIFF_SUFFIXES


@dataclass(frozen=True)
class _Link:
    rel: str
    href: str
    method: str | None = "GET"


@dataclass(frozen=True)
class _Document:
    """The few members that are needed of any STAC document."""

    type: str
    id: str = ""
    assets: dict[str, _Asset] = field(default_factory=dict)
    features: tuple[_Document, ...] = ()
    links: tuple[_Link, ...] = ()

    def linked(self, relation: str, base: str) -> list[str]:
        """Addresses of all links of a relation; raises DataError."""
        return [join(base, each.href) for each in self.links if each.rel == relation]


def scenes_of_document(address: str, asset: str | None) -> Iterator[FoundScene]:
    """The scenes of a STAC document and of those it links to, in their order.

    An item that cannot be read, or has no such asset, is a scene with an error.

    Raises:
        DataError: the document itself, or a catalog that it links to, cannot be read or is no STAC; or an item cannot
            be reached now.
    """
    yield from _scenes(_read(address), address, asset, {address})


def is_document(address: str) -> bool:
    """Whether a file has items of its own: no collection that links to other files, and no other JSON."""
    try:
        return _read(address).type in (_ITEM, _COLLECTION)
    except DataError:
        return False


def _read(address: str) -> _Document:
    return _decoded(read(address), address)


def _decoded(content: bytes, address: str) -> _Document:
    try:
        return msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"{shown(address)} is no STAC item, item collection, collection or catalog: {error}") from error


def _scenes(document: _Document, address: str, asset: str | None, seen: set[str]) -> Iterator[FoundScene]:
    if document.type == _ITEM:
        yield _scene(document, address, asset)
    elif document.type == _COLLECTION:
        for item in document.features:
            yield _scene(item, _home(item, address), asset)
        yield from _next_page(document, address, asset, seen)
    elif document.type in _LINKING:
        yield from _linked(document, address, asset, seen)
    else:
        raise DataError(
            f"{shown(address)} is of the type {document.type!r}: name a STAC item, item collection, collection or "
            "catalog"
        )


def _home(item: _Document, address: str) -> str:
    """What the assets of an item in a collection are relative to: its own place, where it states a URL."""
    return next((each for each in item.linked("self", address) if "://" in address), address)


def _next_page(document: _Document, address: str, asset: str | None, seen: set[str]) -> Iterator[FoundScene]:
    """Further pages of an answer from the network; a page that was stored as a file stands alone."""
    links = [each for each in document.links if each.rel == "next"]
    if not links or "://" not in address:
        return
    if (links[0].method or "GET").upper() != "GET":
        raise DataError(f"{shown(address)} has further pages that only {links[0].method} reads: search with GET")
    following = join(address, links[0].href)
    if following not in seen:
        seen.add(following)
        yield from _scenes(_read(following), following, asset, seen)


def _linked(document: _Document, address: str, asset: str | None, seen: set[str]) -> Iterator[FoundScene]:
    items = [each for each in document.linked("item", address) if each not in seen]
    seen.update(items)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for place, found in zip(items, pool.map(_try, items), strict=True):
            if isinstance(found, DataError):
                yield FoundScene(shown(place), error=found)
            else:
                yield from _scenes(found, place, asset, seen)
    children = document.linked("child", address)
    if not items and not children:
        children = document.linked("items", address)  # of a STAC API
    for child in children:
        if child not in seen:
            seen.add(child)
            yield from _scenes(_read(child), child, asset, seen)


def _try(address: str) -> _Document | DataError:
    """A document, or why there is none; raises DataError: it cannot be reached now."""
    try:
        content = read(address)
    except MissingFileError as error:
        return error
    try:
        return _decoded(content, address)
    except DataError as error:
        return error


def _scene(item: _Document, base: str, asset: str | None) -> FoundScene:
    name = item.id or shown(base)
    try:
        return FoundScene(name, join(base, _choose(item, asset).href))
    except (DataError, OptionError) as error:
        return FoundScene(name, error=error)


def _choose(item: _Document, wanted: str | None) -> _Asset:
    """The asset that is asked for, else the only one that can be meant; raises DataError, OptionError."""
    if not item.assets:
        raise DataError(f"the STAC item {item.id} has no assets")
    if wanted is not None:
        if wanted not in item.assets:
            raise OptionError(f"--asset: the STAC item {item.id} has no {wanted!r}; {nearest(wanted, item.assets)}")
        return item.assets[wanted]
    tiffs = {name: each for name, each in item.assets.items() if each.is_tiff}
    by_role = [each for each in tiffs.values() if set(_ROLES) & set(each.roles or ())]
    found = by_role or list(tiffs.values())
    if len(found) == 1:
        return found[0]
    has = f"has {len(found)} GeoTIFFs that may be meant" if found else "has no GeoTIFF"
    listed = ", ".join(item.assets)
    raise DataError(f"the STAC item {item.id} {has}: name an asset with --asset NAME (it has: {listed})")
