"""What is refused before any work: by token, origin, size, number and time. Plain ASGI, so that bodies can stream."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from gfnet_dynn.service.problems import ServiceError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[ServiceError], App]

_OPEN = ("/v2/health/live", "/v2/health/ready")
"""Answered to anybody, always: a watchdog has no token."""

SCENE = "/map"
_BODIES = 8  # of the largest size, that may be in memory at once
_PAGE = "/page/"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class BodyLimit:
    """Most bytes of a body, and most seconds that it may take to arrive."""

    bytes: int
    seconds: float


@dataclass(frozen=True)
class Access:
    """Limits of all requests.

    Attributes:
        token: that requests must carry; None: none.
        hosts: names that a request may call the server by; empty: any.
        origins: further names of its own page, as behind a proxy.
        concurrency: most requests at once.
        body: of all requests but scenes.
        scene: of scenes to map.
    """

    token: str | None
    hosts: frozenset[str]
    origins: tuple[str, ...]
    concurrency: int
    body: BodyLimit
    scene: BodyLimit


class Limits:
    """The application behind the limits."""

    def __init__(self, app: App, access: Access, refuse: Refuse) -> None:
        """`refuse` makes the answer to what is not let in."""
        self._app, self._access, self._refuse = app, access, refuse
        self._active = 0
        self._held_bytes = 0  # of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limit(scope["path"]))
        try:
            self._admit(scope, body.limit)
        except ServiceError as error:
            await self._refuse(error)(scope, receive, send)
            return
        self._active += 1
        try:
            await self._app(scope, lambda: self._received(body), send)
        finally:
            self._active -= 1
            self._held_bytes -= body.held

    async def _received(self, body: _Body) -> Message:
        """The next part of a body; raises ServiceError: too large, too slow, or too much in memory in all."""
        message = await body.receive()
        if body.limit is not self._access.scene:  # which goes to the disk
            added = len(message.get("body", b""))
            body.held += added
            self._held_bytes += added
            if self._held_bytes > _BODIES * self._access.body.bytes:
                detail = "the requests that are being answered fill the memory for bodies: try again later"
                raise ServiceError(503, "too many requests", detail, retry_after=1)
        return message

    def _limit(self, path: str) -> BodyLimit:
        return self._access.scene if path == SCENE else self._access.body

    def _admit(self, scope: Scope, limit: BodyLimit) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        if path in _OPEN:
            return
        self._require_host(headers)
        self._require_same_origin(headers)
        if not (path == "/" or path.startswith(_PAGE)):
            self._require_token(headers)
        if self._active >= self._access.concurrency:
            detail = f"{self._active} requests are being answered: try again later"
            raise ServiceError(503, "too many requests", detail, retry_after=1)
        _require_length(headers, limit.bytes)

    def _require_token(self, headers: dict[str, str]) -> None:
        token = self._access.token
        if token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise ServiceError(401, "not authorised", "send the header Authorization: Bearer TOKEN with its token")

    def _require_host(self, headers: dict[str, str]) -> None:
        """A name that leads here but is not ours may be a page's that had its own name lead here (DNS rebinding)."""
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] if ":" in host else host
        if self._access.hosts and name.lower() not in self._access.hosts and not _is_address(name):
            detail = f"this service is not called {name[:80]!r}: use localhost, or start it with --allowed-host"
            raise ServiceError(421, "unknown host", detail)

    def _require_same_origin(self, headers: dict[str, str]) -> None:
        """A browser says which site's page sends a request; those of others are not answered (no CORS)."""
        origin = headers.get("origin")
        host = "" if origin is None else urlsplit_host(origin)
        if origin is None or host in (headers.get("host", ""), *self._access.origins):
            return
        raise ServiceError(403, "another site's page", "pages of other sites may not use this service")


def urlsplit_host(origin: str) -> str:
    """Host and port of an origin; empty where it is none, such as `null`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Whether a name is an IP address: those lead where they say."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def local_names(more: tuple[str, ...]) -> frozenset[str]:
    """Names of a server on the loopback address."""
    return _LOCAL_NAMES | {each.lower() for each in more}


def _require_length(headers: dict[str, str], largest: int) -> None:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > largest:
        raise _too_large(largest)


def _too_large(largest: int) -> ServiceError:
    return ServiceError(413, "too large", f"the body may have at most {largest / 2**20:.4g} MiB: send less")


class _Body:
    """A body of bounded size, received in bounded time; once it is here, waiting for the client to go is free."""

    def __init__(self, receive: Receive, limit: BodyLimit) -> None:
        self.limit, self.held = limit, 0
        self._receive, self._taken, self._is_complete = receive, 0, False
        self._end = time.monotonic() + limit.seconds

    async def receive(self) -> Message:
        """The next message of the connection."""
        if self._is_complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except TimeoutError as error:
            detail = f"the body did not arrive within {self.limit.seconds:g} s: send less, or over a faster connection"
            raise ServiceError(408, "too slow", detail) from error
        self._taken += len(message.get("body", b""))
        if self._taken > self.limit.bytes:
            raise _too_large(self.limit.bytes)
        self._is_complete = not message.get("more_body", False)
        return message
