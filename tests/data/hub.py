"""A hub on the loopback address that speaks as much of the protocol as a download needs, and can fail on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import serving

REVISION = "a" * 40


@dataclass
class Hub:
    files: dict[str, bytes]
    endpoint: str = ""
    cut_after: int | None = None
    down: bool = False
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each GET."""


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve `files` (path after the address → content) until the block ends."""
    hub = Hub(files)

    class Handler(_Handler):
        state = hub

    with serving(Handler) as hub.endpoint:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def do_HEAD(self) -> None:
        self._answer(0)

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.state.asked.append(asked)
        content = self._answer(int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0)
        if content is not None and self.state.cut_after is not None:
            content, self.state.cut_after = content[: self.state.cut_after], None
            self.close_connection = True
        self.wfile.write(content or b"")

    def _answer(self, start: int) -> bytes | None:
        content = self.state.files.get(self.path.lstrip("/"))
        if content is None or (self.state.down and self.command == "GET" and len(self.state.asked) > 1):
            self.send_error(404 if content is None else 500)
            return None
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"etag"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        return content[start:]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""
