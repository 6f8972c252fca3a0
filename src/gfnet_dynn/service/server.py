"""Runs the application until a signal; what was accepted is answered first."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from gfnet_dynn.errors import OptionError
from gfnet_dynn.progress import Log
from gfnet_dynn.service.app import Service
from gfnet_dynn.service.request import ServeRequest

_SWITCH_S = 2e-4
"""After which Python lets another thread run: by default the network's would wait up to 5 ms for the requests' after
each segment (measured on two cores, 64 clients: 149 images/s with the default, 179 with this)."""

_KEEP_ALIVE_S = 30  # that a connection may be idle
_GRACE_S = 3  # beyond the time limit of a request, for connections to end


class Server(uvicorn.Server):
    """uvicorn's server with our signals: SIGTERM and SIGINT end it, SIGHUP reads the bundles again."""

    def __init__(self, config: uvicorn.Config, service: Service, log: Log) -> None:
        super().__init__(config)
        self._service, self._log = service, log
        self.interrupted_by: signal.Signals | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the address once connections are taken."""
        await super().startup(sockets)
        for each in sockets or ():
            host, port = each.getsockname()[:2]
            self._log(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's, do not raise the signal again once the work is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._end) for each in (signal.SIGTERM, signal.SIGINT)}
        if hasattr(signal, "SIGHUP"):
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.interrupted_by = signal.Signals(number)
        self.handle_exit(number, frame)

    def _reload(self, number: int, frame: FrameType | None) -> None:
        threading.Thread(target=self._reload_now, name="reload").start()

    def _reload_now(self) -> None:
        for name, found in self._service.registry.reload().items():
            self._log(f"{name}: {found.state}{f': {found.detail}' if found.detail else ''}")


def run(request: ServeRequest, log: Log) -> signal.Signals | None:
    """Serve until SIGTERM or SIGINT, which is returned.

    Raises:
        GFNetDynnError: a bundle or option that cannot be used.
        OptionError: the address is taken, or is none of this device.
    """
    sys.setswitchinterval(_SWITCH_S)
    with listening(request.host, request.port) as listener:
        service = Service(request)
        config = uvicorn.Config(
            service.app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(request.upload_s + request.time_limit_s) + _GRACE_S,
        )
        for served in service.registry.models():
            log(f"{served.name}: {served.manifest.model}, {served.precision}, policy {served.default_policy}")
        if not request.is_local and request.secret() is None:
            log("warning: whoever reaches this device may ask, as no token is set: see --token-file")
        server = Server(config, service, log)
        try:
            server.run([listener])
        finally:
            service.close()
        return server.interrupted_by


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound before anything is loaded."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(found[0], found[1], found[2])
    except OSError as error:
        raise OptionError(f"--host {host}: {error.strerror or error}; name an address of this device") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(found[4])
        except OSError as error:
            taken = "give another --port, or 0 for any that is free"
            hint = "name an address of this device" if error.errno == errno.EADDRNOTAVAIL else taken
            raise OptionError(f"cannot listen on {host}, port {port}: {error.strerror}; {hint}") from error
        yield listener
