"""What goes wrong in a request, as problem documents (RFC 9457), by one table of exception classes."""

from __future__ import annotations

import math
from typing import Any

from gfnet_dynn.errors import (
    BundleError,
    BusyError,
    DataError,
    EngineError,
    GFNetDynnError,
    HubError,
    ImageError,
    MissingExtraError,
    OptionError,
    StorageError,
    ThresholdError,
)


class ServiceError(GFNetDynnError):
    """A request that is not answered as it was asked.

    Attributes:
        status: of HTTP.
        title: the kind of problem, the same words each time.
        detail: what is wrong, where, and what to do.
        retry_after: seconds after which the same request may succeed; None: not by waiting.
        uri: names the kind of problem where a standard does.
    """

    def __init__(
        self, status: int, title: str, detail: str, retry_after: int | None = None, *, uri: str = "about:blank"
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.retry_after, self.uri = status, title, detail, retry_after, uri


class QueueFullError(ServiceError):
    """No room for more images."""

    def __init__(self, waiting: int, most: int, more: int, wait_s: float) -> None:
        never = more > most
        what = f"{more} images in one request" if never else f"{waiting} images wait already"
        advice = f"send at most {most}" if never else "try again later"
        retry = None if never else max(1, math.ceil(wait_s))
        super().__init__(413 if never else 429, "too many images", f"{what}, of {most} allowed: {advice}", retry)


class DeadlinePassedError(ServiceError):
    """The device has more to do than the deadline leaves time for; the network is not run for it."""

    def __init__(self, allowed_s: float, waited_s: float) -> None:
        detail = (
            f"not answered within {1e3 * allowed_s:.4g} ms, given up after {1e3 * waited_s:.4g} ms: give it more time, "
            "or try again when less is waiting"
        )
        super().__init__(429, "deadline passed", detail, max(1, math.ceil(waited_s)))


TABLE: tuple[tuple[type[GFNetDynnError], int, str], ...] = (
    (ImageError, 422, "unreadable image"),
    (DataError, 422, "unusable data"),
    (ThresholdError, 422, "unusable thresholds"),
    (OptionError, 422, "unusable option"),
    (MissingExtraError, 501, "not installed on this device"),
    (BusyError, 503, "busy"),
    (StorageError, 507, "cannot be stored"),
    (HubError, 502, "the hub does not answer"),
    (BundleError, 422, "unusable bundle"),
    (EngineError, 500, "the network failed"),
    (GFNetDynnError, 422, "cannot be done"),
)
"""The first class that fits gives status and title."""


def problem_of(error: GFNetDynnError) -> dict[str, Any]:
    """The problem document of an error."""
    uri = "about:blank"
    if isinstance(error, ServiceError):
        status, title, uri = error.status, error.title, error.uri
    else:
        status, title = next((status, title) for kind, status, title in TABLE if isinstance(error, kind))
    return {"type": uri, "title": title, "status": status, "detail": str(error)}
