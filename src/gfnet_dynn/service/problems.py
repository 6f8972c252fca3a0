"""Errors of the service that have an HTTP status of their own."""

from __future__ import annotations

from gfnet_dynn.errors import GFNetDynnError


class ServiceError(GFNetDynnError):
    """A request that cannot be answered, as a problem of RFC 9457.

    Attributes:
        status: of HTTP.
        title: the kind of problem in a few words.
        detail: what is wrong, where, and what to do.
        retry_after: seconds after which the same request may succeed; None: not stated.
        uri: of the kind of problem, its `type`.
    """

    def __init__(
        self, status: int, title: str, detail: str, retry_after: int | None = None, *, uri: str = "about:blank"
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.retry_after, self.uri = status, title, detail, retry_after, uri
