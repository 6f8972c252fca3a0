"""The scene in the body of a request, raw or in a form, written to disk piece by piece as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from gfnet_dynn.service.job_upload import SceneUpload
from gfnet_dynn.service.problems import ServiceError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "scene"
"""Name of the form's field."""

RAW_TYPES = ("image/tiff", "application/octet-stream")
FORM_TYPE = "multipart/form-data"

FORM_OVERHEAD = 2**20
"""Bytes of a form that are no scene: boundaries, headers, and other fields, which are ignored."""

_PIECE = 2**20  # bytes that are written at once


def announced_bytes(request: Request) -> int | None:
    """Size of the scene by the request's header, or a little less in a form; None: not stated."""
    stated = request.headers.get("content-length", "")
    if not stated.isdecimal():
        return None
    return max(0, int(stated) - (FORM_OVERHEAD if _media_type(request) == FORM_TYPE else 0))


async def receive_scene(request: Request, upload: SceneUpload, seconds: float) -> str:
    """Write the scene of a request to disk; returned is the file name in a form, else nothing.

    Raises:
        ServiceError: the body is cut off or no form with one scene (400), is too slow (408), too large (413), of
            another type (415), or has no room (429).
        StorageError: no space on the disk.
    """
    require_media_type(request)
    async with _in_time(seconds):
        if _media_type(request) != FORM_TYPE:
            await _receive_raw(request, upload)
            return ""
        return await _receive_form(request, upload)


def require_media_type(request: Request) -> None:
    """Refuse a body that is sent as something else than a scene; raises ServiceError."""
    media_type, encoding = _media_type(request), request.headers.get("content-encoding", "identity")
    if media_type not in ("", FORM_TYPE, *RAW_TYPES) or encoding.lower() != "identity":
        detail = f"send the GeoTIFF as {RAW_TYPES[0]}, or in the field `{FIELD}` of {FORM_TYPE}, not encoded otherwise"
        raise ServiceError(415, "unsupported media type", detail)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise ServiceError(408, "upload too slow", f"the scene did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:  # nobody reads the answer, but the log should not show a fault
        raise ServiceError(400, "upload cut off", "the connection ended before the whole scene arrived") from error


async def _receive_raw(request: Request, upload: SceneUpload) -> None:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        await _write(upload, waiting, _PIECE)
    await _write(upload, waiting)


async def _write(upload: SceneUpload, waiting: bytearray, least: int = 1) -> None:
    """Write what waits, where it is enough; the disk may be slow, and other requests must not wait for it."""
    if len(waiting) >= least:
        piece = bytes(waiting)
        waiting.clear()
        await run_in_threadpool(upload.write, piece)


async def _receive_form(request: Request, upload: SceneUpload) -> str:
    form = _SceneForm(request.headers["content-type"])
    try:
        async for chunk in request.stream():
            form.feed(chunk)
            await _write(upload, form.content, _PIECE)
    except FormParserError as error:
        raise _no_form(str(error)) from error
    form.require_complete()
    await _write(upload, form.content)
    return form.file_name


class _SceneForm:
    """Takes the content of one field out of a form, in pieces; other fields are passed over.

    Attributes:
        content: of the field, as far as it arrived and nobody took it.
        file_name: that the client states.
    """

    def __init__(self, content_type: str) -> None:
        self.content, self.file_name = bytearray(), ""
        self._scenes, self._passed, self._is_scene, self._is_complete = 0, 0, False, False
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._parser = self._make_parser(content_type)

    def _make_parser(self, content_type: str) -> MultipartParser:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise _no_form("its Content-Type names no boundary")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_content,
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _no_form(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body; raises FormParserError, and ServiceError: too much besides the scene."""
        before = len(self.content)
        self._parser.write(chunk)
        self._passed += len(chunk) - (len(self.content) - before)
        if self._passed > FORM_OVERHEAD:
            raise ServiceError(413, "form too large", f"the form has more than {FORM_OVERHEAD} bytes besides the scene")

    def require_complete(self) -> None:
        """Refuse a form that ended early or has no scene; raises ServiceError."""
        if not self._is_complete:
            raise _no_form("its last boundary is missing")
        if not self._scenes:
            raise _no_form(f"it has no field `{FIELD}`")

    def _begin_part(self) -> None:
        self._is_scene, self._disposition = False, b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._is_scene = options.get(b"name") == FIELD.encode()
        if self._is_scene:
            self._scenes += 1
            self.file_name = options.get(b"filename", b"").decode(errors="replace")
        if self._scenes > 1:
            raise _no_form(f"it has the field `{FIELD}` twice: send each scene in a request of its own")

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._is_scene:
            self.content += data[start:end]

    def _end(self) -> None:
        self._is_complete = True


def _no_form(why: str) -> ServiceError:
    return ServiceError(400, "not a form with a scene", f"the body is no usable {FORM_TYPE}: {why}")
