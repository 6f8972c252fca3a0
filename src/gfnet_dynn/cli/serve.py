"""`gfnet-dynn serve`."""

from __future__ import annotations

import signal

from gfnet_dynn.cli.streams import print_note
from gfnet_dynn.service.request import ServeRequest


def serve(request: ServeRequest) -> None:
    """Answer HTTP requests and show a page: models classify, in batches, each request within its deadline.

    Under load and near deadlines images exit earlier before any is rejected, and each answer says whether its guarantee
    still holds. SIGTERM ends it when all that was accepted is answered; SIGHUP reads the bundles again. Needs the extra
    serve, and geo for maps.
    """
    from gfnet_dynn.workflows.serving import serve as run

    if run(request, log=print_note) is signal.SIGINT:
        raise KeyboardInterrupt
