"""A service on the loopback address, in this process."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import uvicorn
from PIL import Image

from gfnet_dynn.service.app import Service
from gfnet_dynn.service.request import ServeRequest
from gfnet_dynn.service.server import Server, listening
from tests import bundles

QUICK: dict[str, Any] = {"precision": "fp32", "threads": 1, "maps": False}


@dataclass
class Running:
    """Its parts, and a client that knows its address."""

    service: Service
    address: str
    client: httpx.Client

    def classify(self, content: bytes, **more: Any) -> httpx.Response:
        """One raw image; `more` are query parameters."""
        return self.client.post("/classify", content=content, headers={"Content-Type": "image/png"}, params=more)


@contextmanager
def running(**options: Any) -> Iterator[Running]:
    """Serve until the block ends; all that was accepted is answered then."""
    with listening("127.0.0.1", 0) as listener:
        service = Service(ServeRequest(**{**QUICK, **options}))
        config = uvicorn.Config(service.app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
        is_up = threading.Event()
        server = Server(config, service, lambda line: is_up.set())
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert is_up.wait(30)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
                yield Running(service, address, client)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tiny(folder: Path, name: str = "tiny", **changes: Any) -> Path:
    """The tiny bundle, one of whose policies is calibrated; its size is what `png` of `bundles.images` has."""
    return bundles.write_tiny(folder / f"{name}.gfd", **changes)
