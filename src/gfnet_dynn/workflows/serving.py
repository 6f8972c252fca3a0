"""Serve models over HTTP. Needs no torch; needs the extra `serve`."""

from __future__ import annotations

import signal

from gfnet_dynn.errors import require_extra
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.service.request import ServeRequest


def serve(request: ServeRequest, *, log: Log = ignore_log) -> signal.Signals | None:
    """Answer requests until SIGTERM or SIGINT, which is returned; SIGHUP reads the bundles again.

    Args:
        request: options.
        log: receives the models, the address, and what a reload found.

    Raises:
        BundleError: a bundle is missing or damaged.
        MissingExtraError: the extra `serve` is not installed.
        OptionError: the address cannot be listened on, or the token is none.
    """
    require_extra("serve", "serve")
    from gfnet_dynn.service.server import run

    return run(request, log)
