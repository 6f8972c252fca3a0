"""The models that are served, by name; each can be replaced while it is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import builtin_models, find_bundle
from gfnet_dynn.errors import BundleError, GFNetDynnError, nearest
from gfnet_dynn.service.problems import ServiceError
from gfnet_dynn.service.request import ServeRequest
from gfnet_dynn.service.served_model import ServedModel


@dataclass(frozen=True)
class Reloaded:
    """What became of one model when bundles were read again.

    Attributes:
        state: `unchanged`, `replaced`, or `kept`, where the file cannot be used and the model in memory goes on.
        detail: why it was kept; else empty.
    """

    state: str
    detail: str = ""


@dataclass(eq=False)
class _Entry:
    served: ServedModel
    users: int = 0
    is_replaced: bool = False


class Registry:
    """Hands out models and replaces them without losing what they work on."""

    def __init__(self, request: ServeRequest) -> None:
        """Load all models that the request names.

        Raises:
            BundleError: a bundle is missing or damaged, two have one name, or there is no built-in model.
        """
        self._request = request
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._entries = {name: _Entry(ServedModel(name, path, request)) for name, path in named(request).items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The first one is the default."""
        return tuple(self._entries)

    def models(self) -> list[ServedModel]:
        """All, to be described."""
        return [each.served for each in self._entries.values()]

    @contextmanager
    def use(self, name: str | None) -> Iterator[ServedModel]:
        """A model that is not closed before the block ends; raises ServiceError: there is none of that name."""
        with self._lock:
            chosen = self.names[0] if name is None else name
            if chosen not in self._entries:
                raise ServiceError(
                    404, "no such model", f"no model {chosen!r} is served: {nearest(chosen, self.names)}"
                )
            entry = self._entries[chosen]
            entry.users += 1
        try:
            yield entry.served
        finally:
            with self._lock:
                entry.users -= 1
                is_unused = entry.is_replaced and not entry.users
            if is_unused:
                threading.Thread(target=entry.served.close, name="closing").start()

    def reload(self) -> dict[str, Reloaded]:
        """Read all bundles again; a model whose file has changed is replaced, unless the file cannot be used."""
        with self._reloading:
            return {name: self._reload(name, entry) for name, entry in list(self._entries.items())}

    def _reload(self, name: str, entry: _Entry) -> Reloaded:
        try:
            if read_bundle(entry.served.path).sha256 == entry.served.sha256:
                return Reloaded("unchanged")
            fresh = _Entry(ServedModel(name, entry.served.path, self._request))
        except GFNetDynnError as error:
            return Reloaded("kept", str(error))
        with self._lock:
            self._entries[name] = fresh
            entry.is_replaced = True
            is_unused = not entry.users
        if is_unused:
            entry.served.close()
        return Reloaded("replaced")

    def close(self) -> None:
        """Finish what was accepted."""
        for entry in self._entries.values():
            entry.served.close()


def named(request: ServeRequest) -> dict[str, Path]:
    """The bundles of a request by the names under which they are served: those of built-in models, or of files."""
    if not request.bundles:
        if not (found := builtin_models()):
            raise BundleError("this installation has no built-in models: name a bundle")
        return dict(found)
    paths: dict[str, Path] = {}
    for text in request.bundles:
        path = find_bundle(text)
        if path.stem in paths:
            raise BundleError(f"two bundles are named {path.stem}: {paths[path.stem]} and {path}; rename one of them")
        paths[path.stem] = path
    return paths
